"""Lines of logs as records, which are merged by time.

A line of the appliance's own is logfmt or JSON (appliance/logs.py); supervisord and Redis have formats of their own. A
line without a time, like one of a traceback, belongs to the line before it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from appliance.cli.log_files import LogFile, names_of
from appliance.cli.output import Output, print_json_line
from appliance.printable import printable
from appliance.settings.config import Settings

_SUPERVISORD = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) ([A-Z]{4}) (.*)")
_REDIS = re.compile(r"\d+:[A-Z] (\d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3}) ([.\-*#]) (.*)")
_PAIR = re.compile(r'([^\s=]+)=("(?:[^"\\]|\\.)*"|\S*)')  # of logfmt
_LEVELS = {"INFO": "info", "WARN": "warning", "ERRO": "error", "CRIT": "error", "#": "warning"}

# What supervisord and Redis print at each start, whatever the settings.
_BANNER = re.compile(
    r"Supervisor is running as root\.|RPC interface '\w+' initialized|Server 'unix_http_server' running without|"
    r"daemonizing the supervisord process|set current directory:|supervisord started with pid|"
    r"success: \S+ entered RUNNING state|"
    r"oO0OoO0OoO0Oo|(Redis|Valkey) version=|Configuration loaded|monotonic clock:|Running mode=|Server initialized|"
    r"WARNING Memory overcommit must be enabled|The server is now ready to accept connections|"
    r"User requested shutdown|Received SIGTERM scheduling|Removing the unix socket file|Redis is now ready to exit"
)
_STYLES = {"error": "bold red", "warning": "yellow", "info": "", "debug": "dim"}
_PROCESS_STYLES = ("cyan", "green", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta")
_NAME_WIDTH = 12
_UNKNOWN = datetime.fromtimestamp(0, UTC)


@dataclass(slots=True)
class Record:
    """A line of a log: its event or sentence, and the values that belong to it."""

    process: str
    time: datetime
    level: str
    event: str
    values: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        own = {
            "time": self.time.astimezone(UTC).isoformat(timespec="milliseconds"),
            "process": self.process,
            "level": self.level,
            "event": self.event,
        }
        return own | {name: value for name, value in self.values.items() if name not in own}

    def head(self) -> Text:
        """Return local time and process, for people."""
        clock, process = f"{self._clock():12}", f"{self.process:<{_NAME_WIDTH}}"
        return Text.assemble((clock, "dim"), " ", (process, _process_style(self.process)))

    def text(self) -> Text:
        """Return the event with its values, for people."""
        style = _STYLES.get(self.level, "")
        level = "" if self.level in ("info", "debug") else f"{self.level.upper()} "
        shown = Text.assemble((level, style), (printable(self.event), style or "bold"))
        for name, value in self.values.items():
            shown.append(f" {name}=", "dim")
            shown.append(printable(_quoted(str(value))), style)
        return shown

    def _clock(self) -> str:
        """Return the local time; "" if no line had one yet."""
        return "" if self.time == _UNKNOWN else self.time.astimezone().strftime("%H:%M:%S.%f")[:-3]


class Logs:
    """Several logs as one, in the order of time."""

    def __init__(self, files: Iterable[LogFile]) -> None:
        """Merge these files."""
        self._files = list(files)
        self._last: dict[str, Record] = {}

    @classmethod
    def of(cls, settings: Settings) -> Logs:
        """Return the logs of all processes of an appliance."""
        return cls(LogFile(settings.paths.log_of(name)) for name in names_of(settings))

    def skip(self) -> None:
        """Skip what is there already."""
        for file in self._files:
            file.last(0)

    def last(self, count: int) -> list[Record]:
        """Return the last records of all files together, and go on after them."""
        return self._merged({file.name: file.last(2 * count) for file in self._files})[-count:] if count else []

    def print_new(self, out: Output) -> None:
        """Print what was written since the last call."""
        for record in self._merged({file.name: list(file.new()) for file in self._files}):
            print_record(record, out)

    def _merged(self, lines: dict[str, list[str]]) -> list[Record]:
        records = [record for name, those in lines.items() for record in self._records(name, those)]
        return sorted(records, key=lambda record: record.time)  # which keeps the order within a file

    def _records(self, name: str, lines: list[str]) -> Iterator[Record]:
        for line in lines:
            before = self._last.get(name, Record(name, _UNKNOWN, "info", ""))
            record = self._last[name] = parse(name, line) or Record(name, before.time, before.level, line)
            if not _BANNER.search(record.event):
                yield record


def print_record(record: Record, out: Output) -> None:
    """Print a record on a line, as JSON with --json."""
    if out.as_json:
        print_json_line(record.as_dict())
    elif out.console.is_terminal:  # what is too long goes on below its beginning
        row = Table.grid(padding=(0, 1, 0, 0))
        row.add_column(no_wrap=True)
        row.add_column(overflow="fold")
        row.add_row(record.head(), record.text())
        out.console.print(row)
    else:
        out.console.print(Text(" ").join([record.head(), record.text()]), soft_wrap=True)


def parse(process: str, line: str) -> Record | None:
    """Read a line of any process; None if it has no time of its own."""
    if line.startswith("timestamp="):
        return _of_values(process, _logfmt(line))
    if line.startswith("{"):
        try:
            return _of_values(process, json.loads(line))
        except ValueError:
            return None
    for pattern, form in ((_SUPERVISORD, "%Y-%m-%d %H:%M:%S,%f"), (_REDIS, "%d %b %Y %H:%M:%S.%f")):
        if found := pattern.fullmatch(line):
            when = datetime.strptime(found[1], form).astimezone()  # both write the machine's local time
            return Record(process, when, _LEVELS.get(found[2], "info"), found[3])
    return None


def _of_values(process: str, values: dict[str, Any]) -> Record | None:
    try:
        when = datetime.fromisoformat(str(values.pop("timestamp")))
    except (KeyError, ValueError):
        return None
    return Record(process, when, str(values.pop("level", "info")), str(values.pop("event", "")), values)


def _logfmt(line: str) -> dict[str, Any]:
    return {name: _unquoted(value) for name, value in _PAIR.findall(line)}


def _unquoted(value: str) -> str:
    try:
        return str(json.loads(value)) if value.startswith('"') else value
    except ValueError:
        return value


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if not text or re.search(r"[\s\"]", text) else text


def _process_style(name: str) -> str:
    return _PROCESS_STYLES[sum(name.encode()) % len(_PROCESS_STYLES)]
