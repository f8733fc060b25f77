"""What an appliance records of itself in RUN_DIR: which run of it this is, and whether it is drained.

Redis keeps nothing on disk. If it loses everything, forgets an appliance that was silent for long, or comes back with
older data (from a snapshot or a replica), the appliance tells it again whether it is drained. `applctl up` begins a new
run, which is not drained.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from appliance import files
from appliance.run_dir import RunDir
from appliance.settings.config import Settings

_READABLE_BY_ALL = 0o644  # the file holds no secret, and worker processes may be another account's


@dataclass(frozen=True, slots=True)
class Record:
    """`run` is the id of one start of an appliance; "" if it was not started by `applctl up`.

    `epoch` counts the drains and undrains that it has heard of.
    """

    run: str = ""
    drained: bool = False
    epoch: int = 0


class RecordFile:
    """The file of one RUN_DIR; it need not exist."""

    def __init__(self, run_dir: Path, owner: str | None = None) -> None:
        """Set RUN_DIR, and the proxy's account, which replaces the file that root has made."""
        self.path = RunDir(run_dir).record
        self._owner = owner

    def read(self) -> Record:
        """Return the record: an empty one if there is no file, or it cannot be understood."""
        try:
            content = json.loads(self.path.read_text())
            return Record(str(content["run"]), bool(content["drained"]), int(content.get("epoch", 0)))
        except (OSError, ValueError, TypeError, KeyError):
            return Record()

    def begin_run(self) -> None:
        """Begin a new run, which is not drained; raises OSError if that cannot be written."""
        self._write(Record(secrets.token_hex(4)))

    def keep(self, record: Record) -> None:
        """Write the record unless it is there already; raises OSError."""
        if self.read() != record:
            self._write(record)

    def _write(self, record: Record) -> None:
        files.replace(self.path, json.dumps(asdict(record)), self._owner, _READABLE_BY_ALL)


def record_of(settings: Settings) -> RecordFile:
    """Return the record of the appliance that has these settings."""
    return RecordFile(settings.run_dir, settings.service_user)
