"""The screen of `applctl status --watch`: a head, the sections as far as there is room, and what the keys do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from appliance.cli.watch_head import head
from appliance.cli.watch_sections import Section, details_of, sections_of
from appliance.cli.watch_snapshot import Snapshot
from appliance.cli.watch_state import Mode, State

WIDE_FROM = 120  # columns from which the less important columns are shown
KEYS = "q quit  ? help  s section  Enter details  / filter  < > sort  d drain  x end"
_HELP = (
    ("↑ ↓, j k", "choose a row; Page Up and Page Down, g and G go further"),
    ("s S, Tab, ← →, 1 to 5", "choose a section"),
    ("Enter", "show all that is known of a row; of a session, also why"),
    ("/", "filter: show rows in which, or in whose details, words occur"),
    ("Escape", "go back; in the list, end the filter"),
    ("< >", "sort by another column; the last step is the usual order"),
    ("r", "reverse the order"),
    ("a", "show this appliance only, or the grid"),
    ("d", "drain a worker: it gets no new sessions, then restarts"),
    ("x", "end a session"),
    ("q", "quit"),
    ("", ""),
    ("From, To", "bytes from a session's client, and to it"),
    ("Rate", "both, each second, when its proxy renewed its lease last"),
    ("Iso", "isolation: ctx shares a browser, brw has one alone"),
)

_LEAST = 3  # lines of a section: its head, a row, and how many more there are
_PLENTY = 13  # lines of the chosen section, before the others get more than their heads
_LEAST_LEFT = 13  # for the column that takes what the others leave
_LEAST_WIDTH = 7


@dataclass(slots=True)
class Screen:
    """All that is shown, for whichever size the terminal has."""

    snapshot: Snapshot | None
    state: State
    has_keys: bool = True
    _made_of: tuple[object, ...] = field(default=(), init=False)
    _sections: list[Section] = field(default_factory=list, init=False)

    def sections(self, snapshot: Snapshot, width: int) -> list[Section]:
        """Return the sections as they are wanted on a terminal of so many columns; made once for each change."""
        wanted, is_wide = self.state.wanted, width >= WIDE_FROM
        made_of = (snapshot.at, is_wide, wanted.only_own, wanted.filter, tuple(wanted.orders.items()))
        if made_of != self._made_of:
            self._made_of, self._sections = made_of, sections_of(snapshot, wanted, is_wide=is_wide)
        return self._sections

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Fill the terminal, and never more than that."""
        width, height = options.max_width, options.height or console.height
        if self.snapshot is None:
            yield Text("Looking at the grid …")
            return
        lines = _cut(list(head(self.snapshot, width, ascii_only=options.ascii_only)), max(2, height // 2))
        room = height - len(lines) - 2  # the last line, and one before the sections
        yield from (_one_line(line) for line in lines)
        yield _one_line(_restriction(self.state, self.snapshot))
        left = room
        for part, size in self._body(self.snapshot, width, room):
            yield part
            left -= size
        yield from (Text() for _ in range(left))
        yield _one_line(self._last_line())

    def _body(self, snapshot: Snapshot, width: int, room: int) -> Iterator[tuple[Table | Text, int]]:
        """Return the parts between the head and the last line, each with how many lines it takes."""
        if self.state.mode is Mode.HELP:
            help_lines = [Text.assemble((f"{keys:23}", "bold"), what) for keys, what in _HELP]
            yield from ((_one_line(line), 1) for line in _cut(help_lines, room))
            return
        if not snapshot.view.running:
            return
        sections = self.sections(snapshot, width)
        chosen = sections[self.state.section]
        if self.state.mode is Mode.DETAILS:
            yield from ((_one_line(line), 1) for line in _cut(list(_details(chosen, self.state, width)), room))
            return
        for section, share in zip(sections, shares(sections, self.state.section, room), strict=True):
            yield from _section(section, share, self.state, width, is_chosen=section is chosen)

    def _last_line(self) -> Text:
        if self.state.command:
            return Text(f"{self.state.command.question} y/n", style="bold yellow")
        if self.state.mode is Mode.FILTER:
            return Text.assemble(("/ ", "bold"), self.state.wanted.filter, ("█", "blink"), ("  Enter keeps it", "dim"))
        if self.state.message:
            return Text(self.state.message, style="yellow")
        return Text(KEYS if self.has_keys else "Ctrl-C ends this.", style="dim")


def shares(sections: Sequence[Section], chosen: int, room: int) -> list[int]:
    """Return how many lines each section gets: all get their heads, the chosen one many rows, then others get some."""
    wanted = [1 + len(section.rows) for section in sections]
    order = sorted(range(len(sections)), key=lambda number: (number != chosen, number))
    given = [0] * len(sections)
    steps = ([chosen], _LEAST), (order, 1), ([chosen], _PLENTY), (order, _LEAST), (order, max(wanted))
    for numbers, least in steps:
        for number in numbers:
            more = max(0, min(min(wanted[number], least) - given[number], room))
            given[number] += more
            room -= more
    return given


def _restriction(state: State, snapshot: Snapshot) -> Text:
    """Say what is not shown."""
    parts = [f"only {snapshot.view.settings.appliance_name} (a: the grid)"] if state.wanted.only_own else []
    if state.wanted.filter and state.mode is not Mode.FILTER:
        parts.append(f"only what has {state.wanted.filter!r} (Escape: all)")
    return Text(f"Shown: {', '.join(parts)}" if parts else "", "yellow")


def _section(
    section: Section, lines: int, state: State, width: int, *, is_chosen: bool
) -> Iterator[tuple[Table | Text, int]]:
    """Return a section in so many lines: its head, the rows around the chosen one, and how many are not shown."""
    if not lines:
        return
    count, room = len(section.rows), lines - 1
    is_cut = count > room > 0
    visible = room - is_cut
    row = state.row_in(section)
    first = max(0, min(row - visible // 2, count - visible)) if is_chosen else 0
    table = _table(section, width, is_chosen=is_chosen)
    for number, one in enumerate(section.rows[first : first + visible], first):
        table.add_row(*one.cells, style="reverse" if is_chosen and number == row else "")
    yield table, 1 + len(table.rows)
    if is_cut:
        below = count - first - visible
        text = f"… {first} above, {below} below" if first else f"… {below} more"
        yield Text(f"  {text}", style="dim"), 1


def _table(section: Section, width: int, *, is_chosen: bool) -> Table:
    """Return an empty table, each row of which takes one line."""
    style = "bold reverse cyan" if is_chosen else "bold cyan"
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), expand=True, header_style=style)
    titles = _titles(section)
    for column, title, size in zip(section.columns, titles, _widths(section, titles, width), strict=True):
        table.add_column(
            title,
            no_wrap=True,
            overflow="ellipsis",
            width=size,
            justify="right" if column.is_number else "left",
        )
    return table


def _titles(section: Section) -> list[str]:
    """Return the titles of the columns: the first has the section's name, the sorted one an arrow."""
    titles = [column.title for column in section.columns]
    count = len(section.rows)
    titles[0] = f"{section.name.upper()} {count if count == section.total else f'{count}/{section.total}'}"
    for number, column in enumerate(section.columns):
        if column.title == section.order.column:
            titles[number] += "▼" if column.is_number != section.order.is_reversed else "▲"
    return titles


def _widths(section: Section, titles: list[str], width: int) -> list[int]:
    """Return the widths of the columns: as wide as what they have, and narrower if else too little is left."""
    cells = zip(*(row.cells for row in section.rows), strict=True) if section.rows else [()] * len(titles)
    longest = [max(map(cell_len, map(str, of_column)), default=0) for of_column in cells]
    sizes = [
        max(len(title), min(column.width, most)) if column.width else 0
        for column, title, most in zip(section.columns, titles, longest, strict=True)
    ]
    rest = width - sum(sizes) - len(sizes)
    while rest < _LEAST_LEFT and max(sizes[1:]) > _LEAST_WIDTH:
        sizes[sizes.index(max(sizes[1:]), 1)] -= 1
        rest += 1
    return [size or max(1, rest) for size in sizes]


def _details(section: Section, state: State, width: int) -> Iterator[Text]:
    if not section.rows:
        yield Text("It is gone.")
        return
    row = section.rows[state.row_in(section)]
    yield Text(f"{section.name.upper()}  {row.id}   (Enter: back)", style="bold cyan")
    told = [("why", sentence) for sentence in state.why[1]] if state.why[0] == row.id else []
    for name, value in [*told, *details_of(row)]:
        for number, line in enumerate(Text(value).wrap(_PLAIN, max(10, width - 22))):
            yield Text.assemble((f"{name.replace('_', ' ') if not number else '':22}", "dim"), line)


_PLAIN = Console(width=80)


def _cut(lines: list[Text], most: int) -> list[Text]:
    """Return so many lines at most; the last says how many are missing."""
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], Text(f"… {len(lines) - most + 1} more lines", style="dim")]


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
