"""The back-off of a worker that keeps failing, counted in a file across its processes."""

from __future__ import annotations

from pathlib import Path

FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 5.0  # so that a worker is back soon after what it lacked is there


def delay_s(failures: int) -> float:
    """Return the seconds to wait before the next launch, after so many failures in a row."""
    if failures <= 0:
        return 0.0
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** (min(failures, 30) - 1))


class Failures:
    """How often in a row the workers of one name failed before they were ready, or soon after.

    An attempt counts as failed from its beginning until it is ready, so that no way of dying escapes
    the count.
    """

    def __init__(self, folder: Path) -> None:
        """Read what earlier workers have counted in the folder of their name."""
        self._file = folder / "failures"
        self.before = self._read()
        self.is_counted = False

    def count(self) -> None:
        """Count this attempt as failed, for now; raises OSError if there is no room for that."""
        self._write(self.before + 1)
        self.is_counted = True

    def forgive(self) -> None:
        """Do not count this attempt: it was told to stop."""
        self._write(self.before)

    def clear(self) -> None:
        """Forget all failures: the worker is ready."""
        self._file.unlink(missing_ok=True)

    def _read(self) -> int:
        try:
            return int(self._file.read_text())
        except (OSError, ValueError):  # none yet, or torn by a full disk
            return 0

    def _write(self, failures: int) -> None:
        self._file.write_text(str(failures))
