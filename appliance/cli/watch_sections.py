"""What `applctl status --watch` shows: one look at the grid, as sections of rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import psutil
from rich.text import Text

from appliance.checks.view import GridView, look
from appliance.cli.connection import current_settings
from appliance.cli.output import duration, mebibytes, status_text
from appliance.grid.grid import open_grid
from appliance.grid.records import ApplianceInfo, SessionInfo, WorkerInfo
from appliance.names import WorkerId, minor_version
from appliance.request_errors import StoreUnavailable

WIDE = 120  # columns from which the less important columns are shown
_EVENTS = 200
_SLOTS_SHOWN = 10
_FIRST = ("suspect", "draining", "available", "standby")  # the order of workers


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `width` 0 is for the one that takes what the others leave."""

    title: str
    width: int
    only_wide: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row, with all that is known of what it shows."""

    id: str
    cells: tuple[str | Text, ...]
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Section:
    """Rows of one kind, the most important first."""

    name: str
    columns: tuple[Column, ...]
    rows: list[Row]


@dataclass(slots=True)
class Snapshot:
    """One look at the grid and at this machine; `cpu` in percent, memory in bytes, `at` in seconds."""

    view: GridView
    at: float
    appliances: list[ApplianceInfo] = field(default_factory=list)
    events: list[dict[str, str]] = field(default_factory=list)
    cpu: float = 0.0
    memory_used: int = 0
    memory_total: int = 0


def take_snapshot() -> Snapshot:
    """Look at the grid; what is away shows in the view. Raises SettingsError."""
    snapshot = Snapshot(look(current_settings()), time.time(), cpu=psutil.cpu_percent())
    memory = psutil.virtual_memory()
    snapshot.memory_total, snapshot.memory_used = memory.total, memory.total - memory.available
    if snapshot.view.running:
        with suppress(StoreUnavailable), open_grid(snapshot.view.settings) as grid:
            snapshot.appliances, snapshot.events = grid.appliances(), grid.events(_EVENTS)
    return snapshot


def sections_of(snapshot: Snapshot) -> list[Section]:
    """Return all sections, in the order of their importance."""
    view, now_ms = snapshot.view, snapshot.at * 1000
    waiting = [session for session in view.sessions if not session.holds_slot]
    holding = [session for session in view.sessions if session.holds_slot]
    return [
        Section("Workers", _WORKERS, [_worker(one, now_ms) for one in sorted(view.workers, key=_urgency)]),
        Section("Sessions", _SESSIONS, [_session(one, view, now_ms) for one in holding]),
        Section("Queue", _QUEUE, [_waiting(one, now_ms) for one in waiting]),
        Section("Appliances", _APPLIANCES, [_appliance(one) for one in snapshot.appliances]),
        Section("Events", _EVENT, [_event(one) for one in reversed(snapshot.events)]),
    ]


def bar(used: int, of: int, width: int, *, ascii_only: bool = False) -> Text:
    """Draw how much of something is used: green, yellow from three quarters on, red if it is all."""
    full, empty = ("|", ".") if ascii_only else ("■", "·")
    filled = min(width, -(-used * width // of)) if of else 0
    colour = "red" if used >= of else "yellow" if used * 4 >= of * 3 else "green"
    return Text.assemble((full * filled, colour), (empty * (width - filled), "dim"))


_WORKERS = (
    *(Column("Workers", 20), Column("Status", 10), Column("Sessions", 16), Column("Lifetime", 9), Column("Memory", 9)),
    *(Column("Uptime", 12), Column("Version", 8, only_wide=True), Column("Reason", 0, only_wide=True)),
)
_SESSIONS = (
    *(Column("Sessions", 16), Column("Status", 7), Column("Age", 11), Column("Worker", 14), Column("Client", 15)),
    *(Column("Browser", 14, only_wide=True), Column("Token", 14, only_wide=True), Column("Name", 0)),
)
_QUEUE = (
    *(Column("Queue", 16), Column("Waits", 11), Column("For", 14), Column("Client", 15)),
    *(Column("Token", 14, only_wide=True), Column("Name", 0)),
)
_APPLIANCES = (
    *(Column("Appliances", 24), Column("Status", 9), Column("Workers", 8), Column("Sessions", 9)),
    *(Column("Versions", 20, only_wide=True), Column("Endpoint", 0)),
)
_EVENT = (Column("Events", 10), Column("What", 22), Column("Details", 0))


def _urgency(worker: WorkerInfo) -> tuple[int, str]:
    status = "suspect" if worker.suspect or worker.stale else worker.status
    return (_FIRST.index(status) if status in _FIRST else 0, worker.name)


def _worker(worker: WorkerInfo, now_ms: float) -> Row:
    width = min(worker.concurrency, _SLOTS_SHOWN)
    slots = Text.assemble(bar(worker.active, worker.concurrency, width), f" {worker.active}/{worker.concurrency}")
    status = "suspect" if worker.suspect else worker.status
    cells = (
        *(worker.name, status_text(status), slots, f"{worker.lifetime}/{worker.quota or '∞'}"),
        *(mebibytes(worker.memory_bytes), _since(worker.started_ms, now_ms), minor_version(worker.version)),
        worker.reason,
    )
    return Row(worker.id, cells, asdict(worker))


def _session(session: SessionInfo, view: GridView, now_ms: float) -> Row:
    worker = WorkerId.parse(session.worker)
    name = worker.name if worker.appliance == view.settings.appliance_name else session.worker
    cells = (
        *(session.id, status_text(session.status), _since(session.started_ms, now_ms), name, session.client),
        *(f"{session.browser} {session.minor}", session.token, session.name or session.kept_as),
    )
    return Row(session.id, cells, asdict(session))


def _waiting(session: SessionInfo, now_ms: float) -> Row:
    wanted = f"{session.browser} {session.minor}"
    cells = (session.id, _since(session.started_ms, now_ms), wanted, session.client, session.token, session.name)
    return Row(session.id, cells, asdict(session))


def _appliance(appliance: ApplianceInfo) -> Row:
    workers, versions = str(sum(appliance.workers.values())), ", ".join(appliance.versions)
    status = status_text(appliance.status)
    cells = (appliance.name, status, workers, str(appliance.on_workers), versions, appliance.endpoint)
    return Row(appliance.name, cells, appliance.as_dict())


def _event(event: dict[str, str]) -> Row:
    at = datetime.fromtimestamp(int(event["id"].partition("-")[0]) / 1000)
    details = " ".join(f"{name}={value}" for name, value in event.items() if name not in ("id", "event") and value)
    return Row(event["id"], (f"{at:%H:%M:%S}", event.get("event", ""), details), dict(event))


def _since(ms: int, now_ms: float) -> str:
    """Redis' clock and this machine's may differ by a little, which must not show as a negative time."""
    return duration(max(0.0, (now_ms - ms) / 1000))


def details_of(row: Row) -> Iterator[tuple[str, str]]:
    """Return what is known of a row, by name; what is not known is left out."""
    for name, value in row.details.items():
        if value in ("", None, [], {}) or (name.endswith("_ms") and not value):
            continue
        if name.endswith("_ms"):
            yield name.removesuffix("_ms"), f"{datetime.fromtimestamp(value / 1000):%Y-%m-%d %H:%M:%S}"
        elif name.endswith("_bytes"):
            yield name.removesuffix("_bytes"), mebibytes(value)
        else:
            yield name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)
