"""The sections of `applctl status --watch`: rows of one kind each, as far as they are asked for, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from rich.text import Text

from appliance.cli import watch_columns as columns
from appliance.cli.output import mebibytes
from appliance.cli.session_tables import size
from appliance.cli.watch_columns import Column
from appliance.cli.watch_snapshot import Snapshot
from appliance.grid.records import ApplianceInfo, WorkerInfo
from appliance.grid.story import Story
from appliance.names import appliance_of_proxy

_FIRST = ("suspect", "draining", "available", "standby")  # the order of workers

Event = dict[str, str]
Thing = WorkerInfo | Story | ApplianceInfo | Event


class Order(NamedTuple):
    """By which column a section is sorted; "" for the order of importance."""

    column: str = ""
    is_reversed: bool = False


@dataclass(slots=True)
class Wanted:
    """What is to be shown: of which appliances, which rows, and in which order (`orders`, by the section's name)."""

    only_own: bool = False
    filter: str = ""
    orders: dict[str, Order] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """A row, and what it shows."""

    id: str
    cells: tuple[str | Text, ...]
    thing: Thing

    @property
    def details(self) -> dict[str, Any]:
        """All that is known of it."""
        return self.thing if isinstance(self.thing, dict) else self.thing.as_dict()


@dataclass(frozen=True, slots=True)
class Section:
    """Rows of one kind. `total` counts also those that the filter hides; `columns` are the ones that are shown."""

    name: str
    columns: tuple[Column[Any], ...]
    rows: list[Row]
    total: int
    order: Order


def sections_of(snapshot: Snapshot, wanted: Wanted, *, is_wide: bool) -> list[Section]:
    """Return all sections, in the order of their importance."""
    view, own = snapshot.view, snapshot.view.settings.appliance_name
    workers: list[Thing] = [*sorted(view.grid_workers, key=_urgency)]
    kinds: list[tuple[str, tuple[Column[Any], ...], Sequence[Thing]]] = [
        ("Workers", columns.workers(snapshot), workers),
        ("Sessions", columns.sessions(snapshot), [one for one in view.sessions if one.holds_slot]),
        ("Queue", columns.queue(snapshot), [one for one in view.sessions if not one.holds_slot]),
        ("Appliances", columns.APPLIANCES, snapshot.appliances),
        ("Events", columns.EVENTS, snapshot.events[::-1]),
    ]
    return [
        _section(name, of_kind, [one for one in things if not wanted.only_own or _is_of(own, one)], wanted, is_wide)
        for name, of_kind, things in kinds
    ]


def _section(
    name: str, of_kind: tuple[Column[Any], ...], things: list[Thing], wanted: Wanted, is_wide: bool
) -> Section:
    """Return a section with the rows that the filter finds, in the order that is wanted."""
    shown = tuple(column for column in of_kind if column.only in ("", columns.WIDE if is_wide else columns.NARROW))
    order = wanted.orders.get(name, Order())
    by = next((column for column in shown if column.title == order.column), None)
    if by:
        things.sort(key=by.key, reverse=order.is_reversed != by.is_number)
    elif order.is_reversed:
        things.reverse()
    rows = [Row(_id_of(one), tuple(column.text(one) for column in shown), one) for one in things]
    found = [row for row in rows if _matches(row, wanted.filter)] if wanted.filter else rows
    return Section(name, shown, found, len(rows), order)


def _urgency(worker: WorkerInfo) -> tuple[int, str, str]:
    status = "suspect" if worker.suspect or worker.stale else worker.status
    return (_FIRST.index(status) if status in _FIRST else 0, worker.appliance, worker.name)


def _id_of(thing: Thing) -> str:
    if isinstance(thing, dict):
        return thing["id"]
    return thing.name if isinstance(thing, ApplianceInfo) else thing.id


def _is_of(appliance: str, thing: Thing) -> bool:
    """Return whether a worker is on an appliance, a session on its workers or in its proxy, or it is the one itself."""
    if isinstance(thing, dict):
        return any(value == appliance or value.startswith(f"{appliance}.") for value in thing.values())
    if isinstance(thing, Story):
        return appliance in (thing.appliance, appliance_of_proxy(thing.proxy))
    return appliance == (thing.name if isinstance(thing, ApplianceInfo) else thing.appliance)


def _matches(row: Row, words: str) -> bool:
    """Return whether all words occur somewhere in a row, or in what is known of it."""
    text = " ".join([*(str(cell) for cell in row.cells), *(value for _, value in details_of(row))]).casefold()
    return all(word in text for word in words.casefold().split())


def details_of(row: Row) -> Iterator[tuple[str, str]]:
    """Return what is known of a row, by name; what is not known is left out."""
    for name, value in row.details.items():
        if value in ("", None, [], {}) or (name.endswith("_ms") and not value):
            continue
        if name in ("waited_ms", "duration_ms"):
            yield name.removesuffix("_ms"), f"{value / 1000:.1f} s"
        elif name.endswith("_ms"):
            yield name.removesuffix("_ms"), f"{datetime.fromtimestamp(value / 1000):%Y-%m-%d %H:%M:%S}"
        elif name.endswith("_bytes"):
            yield name.removesuffix("_bytes"), mebibytes(value)
        elif name.startswith("bytes_"):
            yield name, size(value)
        elif isinstance(value, dict):
            yield name, " ".join(f"{key}={one}" for key, one in value.items())
        else:
            yield name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)
