"""The screen of `applctl status --watch`: a head, the sections as far as there is room, and what the keys do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from appliance.cli.output import status_text
from appliance.cli.watch_sections import WIDE, Column, Section, Snapshot, bar, details_of, sections_of
from appliance.cli.watch_state import Mode, State
from appliance.grid.records import PoolCapacity

KEYS = "q quit   ↑↓ choose   s section   Enter details   d drain   x end"
T = TypeVar("T")

_LEAST = 3  # lines of a section: its head, a row, and how many more there are
_SMALL_BAR, _LARGE_BAR = 20, 40


@dataclass(slots=True)
class Screen:
    """All that is shown, for whichever size the terminal has."""

    snapshot: Snapshot | None
    state: State
    has_keys: bool = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Fill the terminal, and never more than that."""
        width, height = options.max_width, options.height or console.height
        if self.snapshot is None:
            yield Text("Looking at the grid …")
            return
        lines = _cut(list(_head(self.snapshot, width, ascii_only=options.ascii_only)), max(2, height // 2))
        room = height - len(lines) - 2  # the last line, and one before the sections
        yield from (_one_line(line) for line in lines)
        yield Text()
        sections = sections_of(self.snapshot)
        left = room
        if self.state.mode is Mode.DETAILS and self.snapshot.view.running:
            shown = _cut(list(_details(sections[self.state.section], self.state, width)), room)
            yield from shown
            left -= len(shown)
        elif self.snapshot.view.running:
            for section, share in zip(sections, shares(sections, self.state.section, room), strict=True):
                yield from _section(
                    section, share, self.state, width, is_chosen=section is sections[self.state.section]
                )
                left -= share
        yield from (Text() for _ in range(left))
        yield _one_line(self._last_line())

    def _last_line(self) -> Text:
        if self.state.order:
            return Text(f"{self.state.order.question} y/n", style="bold yellow")
        if self.state.message:
            return Text(self.state.message, style="yellow")
        return Text(KEYS if self.has_keys else "Ctrl-C ends this.", style="dim")


def shares(sections: Sequence[Section], chosen: int, room: int) -> list[int]:
    """Return how many lines each section gets: some for the chosen one, then every one its head, then the rest."""
    wanted = [1 + len(section.rows) for section in sections]
    order = sorted(range(len(sections)), key=lambda number: (number != chosen, number))
    given = [0] * len(sections)
    for numbers, least in ([chosen], _LEAST), (order, 1), (order, _LEAST), (order, max(wanted)):
        for number in numbers:
            more = max(0, min(min(wanted[number], least) - given[number], room))
            given[number] += more
            room -= more
    return given


def _head(snapshot: Snapshot, width: int, *, ascii_only: bool) -> Iterator[Text]:
    view = snapshot.view
    if not view.running:
        if view.changing:
            yield Text("The appliance is being started or stopped.", "bold yellow")
            return
        yield Text("The appliance is not running. Start it with `applctl up`.", "bold red")
        yield from (Text(f"An earlier run left {name}.", "yellow") for name in view.left_over)
        return
    ready = "ready" if view.ready else "not ready"
    yield Text.assemble((f"{view.settings.appliance_name}  {view.settings.endpoint}", "bold"), "  ", status_text(ready))
    yield from (Text(f"Problem: {problem}", "yellow") for problem in view.problems)
    size = _LARGE_BAR if width >= WIDE else _SMALL_BAR
    yield from (_pool(pool, size, ascii_only=ascii_only) for pool in view.pools)
    waiting = sum(session.status == "waiting" for session in view.sessions)
    gibibytes = f"{snapshot.memory_used / 2**30:.1f}/{snapshot.memory_total / 2**30:.1f} GiB"
    yield Text.assemble(
        f"{len(view.sessions) - waiting} active, ",
        (f"{waiting} waiting", "yellow" if waiting else ""),
        "   CPU ",
        *(bar(round(snapshot.cpu), 100, size // 4, ascii_only=ascii_only), f" {snapshot.cpu:.0f} %   Memory "),
        *(bar(snapshot.memory_used, snapshot.memory_total, size // 4, ascii_only=ascii_only), f" {gibibytes}"),
    )
    workers = set(view.settings.worker_names)
    others = [process for process in view.processes if process.name not in workers]
    yield Text("  ").join(Text.assemble(f"{one.name} ", status_text(one.state.lower())) for one in others)


def _pool(pool: PoolCapacity, size: int, *, ascii_only: bool) -> Text:
    workers = ", ".join(f"{count} {status}" for status, count in pool.workers.items() if count)
    return Text.assemble(
        f"{f'{pool.browser} {pool.version}':14}",
        *(bar(pool.active, pool.slots, size, ascii_only=ascii_only), f" {pool.active}/{pool.slots} slots"),
        (f"  {pool.waiting} waiting" if pool.waiting else "", "yellow"),
        (f"  {workers}", "dim"),
    )


def _section(section: Section, lines: int, state: State, width: int, *, is_chosen: bool) -> Iterator[Table | Text]:
    """Return a section in so many lines: its head, the rows around the chosen one, and how many are not shown."""
    if not lines:
        return
    count, room = len(section.rows), lines - 1
    is_cut = count > room > 0
    visible = room - is_cut
    row = state.row_in(section)
    first = max(0, min(row - visible // 2, count - visible)) if is_chosen else 0
    title = f"{section.name.upper()} {count}"
    table = _table(section.columns, width, title, is_chosen=is_chosen)
    for number, one in enumerate(section.rows[first : first + visible], first):
        style = "reverse" if is_chosen and number == row else ""
        table.add_row(*_shown(section.columns, one.cells, width), style=style)
    yield table
    if is_cut:
        below = count - first - visible
        text = f"… {first} above, {below} below" if first else f"… {below} more"
        yield Text(f"  {text}", style="dim")


def _table(columns: tuple[Column, ...], width: int, title: str, *, is_chosen: bool) -> Table:
    """Return an empty table, each row of which takes one line."""
    style = "bold reverse cyan" if is_chosen else "bold cyan"
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), expand=True, header_style=style)
    for number, column in enumerate(_shown(columns, columns, width)):
        name = title if number == 0 else column.title
        size = max(column.width, len(name)) if column.width else None
        table.add_column(name, no_wrap=True, overflow="ellipsis", width=size, ratio=None if size else 1)
    return table


def _shown(columns: tuple[Column, ...], of: Sequence[T], width: int) -> list[T]:
    """Leave out what only a wide terminal shows."""
    return [one for column, one in zip(columns, of, strict=True) if width >= WIDE or not column.only_wide]


def _details(section: Section, state: State, width: int) -> Iterator[Text]:
    if not section.rows:
        yield Text("It is gone.")
        return
    row = section.rows[state.row_in(section)]
    yield Text(f"{section.name.upper()}  {row.id}   (Enter: back)", style="bold cyan")
    told = [("why", sentence) for sentence in state.why[1]] if state.why[0] == row.id else []
    for name, value in [*details_of(row), *told]:
        for number, line in enumerate(Text(value).wrap(_PLAIN, max(10, width - 16))):
            yield Text.assemble((f"{name.replace('_', ' ') if not number else '':16}", "dim"), line)


_PLAIN = Console(width=80)


def _cut(lines: list[Text], most: int) -> list[Text]:
    """Return so many lines at most; the last says how many are missing."""
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], Text(f"… {len(lines) - most + 1} more lines", style="dim")]


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
