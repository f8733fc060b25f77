"""The columns of `applctl status --watch`: what each shows, and what its rows are sorted by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from rich.text import Text

from appliance.cli.output import mebibytes, status_text
from appliance.cli.watch_snapshot import Rate, Snapshot
from appliance.grid.records import ApplianceInfo, WorkerInfo
from appliance.grid.story import Story
from appliance.names import Isolation, Protocol, WorkerId, appliance_of_proxy, minor_version

WIDE, NARROW = "wide", "narrow"
ID_SHOWN = 11  # characters of a session's id, which commands understand too
_SLOTS_SHOWN = 10
_UNITS = ("", "k", "M", "G", "T")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column, which takes `width` at most; 0 is for the one that takes what the others leave.

    Rows are sorted by `sort_key`, and by `text` without one. `only` says on which terminals it is shown: "wide" or
    "narrow" ones; "" means all. Of numbers, which are aligned to the right, the largest comes first.
    """

    title: str
    width: int
    text: Callable[[T], str | Text]
    sort_key: Callable[[T], Any] | None = None
    only: str = ""
    is_number: bool = False

    def key(self, thing: T) -> Any:
        """Return what a row is sorted by."""
        return self.sort_key(thing) if self.sort_key else str(self.text(thing)).casefold()


def _number(
    title: str, width: int, value: Callable[[T], float], write: Callable[[float], str] = str, only: str = ""
) -> Column[T]:
    """Return a column of numbers."""
    return Column(title, width, lambda one: write(value(one)), value, only, is_number=True)


def bar(used: int, of: int, width: int, *, ascii_only: bool = False) -> Text:
    """Draw how much of something is used: green, yellow from three quarters on, red if it is all."""
    full, empty = ("|", ".") if ascii_only else ("■", "·")
    filled = min(width, -(-used * width // of)) if of else 0
    colour = "red" if used >= of else "yellow" if used * 4 >= of * 3 else "green"
    return Text.assemble((full * filled, colour), (empty * (width - filled), "dim"))


def short_size(count: float) -> str:
    """Write a number of bytes with two digits or three: "870", "1.2k", "33M"."""
    unit = 0
    while count >= 999.5 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.1f}{_UNITS[unit]}" if unit and count < 9.95 else f"{count:.0f}{_UNITS[unit]}"


def short_rate(count: float) -> str:
    """Write a number of bytes per second; "" for none."""
    return f"{short_size(count)}/s" if count >= 1 else ""


def short_duration(seconds: float) -> str:
    """Write a duration as briefly as it can be read: "45s", "3m12", "2h05", "3d04"."""
    left = max(0, int(seconds))  # the grid's clock and this machine's may differ by a little
    if left < 60:
        return f"{left}s"
    if left < 3600:
        return f"{left // 60}m{left % 60:02}"
    return f"{left // 3600}h{left // 60 % 60:02}" if left < 86400 else f"{left // 86400}d{left // 3600 % 24:02}"


def workers(snapshot: Snapshot) -> tuple[Column[WorkerInfo], ...]:
    """Return the columns of workers; that of their appliances is there if they have several."""
    rates = Counter[str]()
    for session in snapshot.view.sessions:
        rates[session.worker] += round(sum(snapshot.rates.get(session.id, Rate())))
    has_several = len({worker.appliance for worker in snapshot.view.grid_workers}) > 1
    where: Column[WorkerInfo] = Column("Appliance", 14, lambda one: one.appliance)
    return (
        Column("Workers", 14, lambda one: one.name),
        *[where] * has_several,
        Column("Status", 9, lambda one: status_text("suspect" if one.suspect else one.status)),
        Column("Sessions", 16, _slots, lambda one: (one.active, one.concurrency)),
        Column("Lifetime", 9, lambda one: f"{one.lifetime}/{one.quota or '∞'}", lambda one: one.lifetime),
        _number("Memory", 9, lambda one: one.memory_bytes, lambda size: mebibytes(int(size))),
        _number("Uptime", 6, lambda one: snapshot.at - one.started_ms / 1000, short_duration),
        _number("Traffic", 7, lambda one: rates[one.id], short_rate, WIDE),
        Column("Version", 7, lambda one: minor_version(one.version), only=WIDE),
        Column("Reason", 0, lambda one: one.reason),
    )


def _slots(worker: WorkerInfo) -> Text:
    width = min(worker.concurrency, _SLOTS_SHOWN)
    return Text.assemble(bar(worker.active, worker.concurrency, width), f" {worker.active}/{worker.concurrency}")


def sessions(snapshot: Snapshot) -> tuple[Column[Story], ...]:
    """Return the columns of sessions that hold a slot. The id has the colour of the status."""
    return (
        Column("Sessions", ID_SHOWN, _id),
        Column("Status", 7, lambda one: status_text(one.status), only=WIDE),
        _age("Age", snapshot),
        Column("Worker", 22, lambda one: _place(one, snapshot)),
        Column("Browser", 17, _wanted_browser, only=WIDE),
        *_ISOLATION,
        Column("Client", 15, lambda one: one.client),
        Column("Token", 12, lambda one: one.token, only=WIDE),
        _number("From", 5, lambda one: one.bytes_from_client, short_size),
        _number("To", 5, lambda one: one.bytes_to_client, short_size),
        _number("Rate", 7, lambda one: sum(snapshot.rates.get(one.id, Rate())), short_rate),
        Column("Name, labels", 0, _name),
    )


def queue(snapshot: Snapshot) -> tuple[Column[Story], ...]:
    """Return the columns of sessions that wait for a slot."""
    return (
        Column("Queue", ID_SHOWN, _id),
        _age("Waits", snapshot),
        Column("For", 17, _wanted_browser),
        *_ISOLATION,
        Column("Client", 15, lambda one: one.client),
        Column("Token", 12, lambda one: one.token, only=WIDE),
        Column("Proxy", 14, lambda one: appliance_of_proxy(one.proxy), only=WIDE),
        Column("Name, labels", 0, _name),
    )


def _id(story: Story) -> Text:
    return status_text(story.status, story.id[:ID_SHOWN])


def _age(title: str, snapshot: Snapshot) -> Column[Story]:
    return _number(title, 6, lambda one: snapshot.at - (one.started_ms or 0) / 1000, short_duration)


def _wanted_browser(story: Story) -> str:
    return f"{story.browser} {story.version or 'any'}{' cdp' if story.protocol == Protocol.CDP else ''}"


_ISOLATION: tuple[Column[Story], ...] = (
    Column("Isolation", 9, lambda one: one.isolation, only=WIDE),
    Column("Iso", 3, lambda one: "brw" if one.isolation == Isolation.BROWSER else "ctx", only=NARROW),
)


def _place(story: Story, snapshot: Snapshot) -> str:
    """Return the worker's name, with its appliance's if that is another one."""
    worker = WorkerId.parse(story.worker)
    is_here = worker.appliance == snapshot.view.settings.appliance_name
    return worker.name if is_here else f"{worker.name}@{worker.appliance}"


def _name(story: Story) -> Text:
    """Return the name and the labels."""
    labels = " ".join(f"{key}={value}" for key, value in sorted(story.labels.items()))
    return Text.assemble(story.shown_name, " " if story.shown_name and labels else "", (labels, "cyan"))


APPLIANCES: tuple[Column[ApplianceInfo], ...] = (
    Column("Appliances", 24, lambda one: one.name),
    Column("Status", 9, lambda one: status_text(one.status)),
    _number("Workers", 8, lambda one: sum(one.workers.values())),
    _number("Sessions", 9, lambda one: one.on_workers),
    _number("In proxy", 9, lambda one: one.in_proxy, only=WIDE),
    Column("Versions", 20, lambda one: ", ".join(one.versions), only=WIDE),
    Column("Endpoint", 0, lambda one: one.endpoint),
)


def _at(event: dict[str, str]) -> str:
    return f"{datetime.fromtimestamp(int(event['id'].partition('-')[0]) / 1000):%H:%M:%S}"


def _said(event: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in event.items() if name not in ("id", "event") and value)


EVENTS: tuple[Column[dict[str, str]], ...] = (
    Column("Events", 10, _at, lambda one: tuple(map(int, one["id"].split("-")))),
    Column("What", 22, lambda one: one.get("event", "")),
    Column("Details", 0, _said),
)
