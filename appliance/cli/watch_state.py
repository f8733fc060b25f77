"""What the keys of `applctl status --watch` do: which section and row are chosen, what is shown, and what is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from appliance.cli.output import counted
from appliance.cli.watch_sections import Order, Row, Section, Wanted

PAGE = 10  # rows

_OF_SESSIONS = ("Sessions", "Queue")


class Mode(Enum):
    """What the screen shows."""

    LIST = auto()
    DETAILS = auto()
    HELP = auto()
    QUESTION = auto()
    FILTER = auto()  # it is being typed


@dataclass(frozen=True, slots=True)
class Command:
    """What an operator orders: to drain a worker, or to end a session."""

    is_drain: bool
    id: str
    question: str


@dataclass(slots=True)
class State:
    """What is chosen, and what is to be shown. A row is chosen by its id, and keeps its place if it is gone.

    `why` has the id of the last session that was looked at closer, and its story in sentences.
    """

    section: int = 0
    wanted: Wanted = field(default_factory=Wanted)
    chosen: dict[str, tuple[str, int]] = field(default_factory=dict)
    mode: Mode = Mode.LIST
    command: Command | None = None
    message: str = ""
    why: tuple[str, list[str]] = ("", [])
    is_over: bool = False

    def row_in(self, section: Section) -> int:
        """Return the number of the chosen row in a section."""
        row_id, number = self.chosen.get(section.name, ("", 0))
        for index, row in enumerate(section.rows):
            if row.id == row_id:
                return index
        return max(0, min(number, len(section.rows) - 1))

    def asks_about(self, sections: list[Section]) -> str:
        """Return the id of the session that is looked at closer; "" if none is."""
        section = sections[self.section]
        if self.mode is not Mode.DETAILS or section.name not in _OF_SESSIONS or not section.rows:
            return ""
        return section.rows[self.row_in(section)].id

    def press(self, key: str, sections: list[Section]) -> Command | None:
        """Do what a key means. Return what is to be done in the grid."""
        if self.mode is Mode.QUESTION:
            return self._answer(key)
        self.message = ""
        if self.mode is Mode.FILTER:
            self._type(key)
        elif self.mode is Mode.HELP or key == "?":
            self.mode = Mode.LIST if self.mode is Mode.HELP else Mode.HELP
        elif key in ("q", "escape"):
            self._leave(key)
        elif key == "enter":
            has_rows = bool(sections[self.section].rows)
            self.mode = Mode.DETAILS if self.mode is Mode.LIST and has_rows else Mode.LIST
        elif key in ("d", "x"):
            self._ask(key, sections[self.section])
        elif self.mode is Mode.LIST and key.isdecimal():
            self.section = min(max(int(key), 1), len(sections)) - 1
        elif self.mode is Mode.LIST and key in ("next", "previous"):
            self.section = (self.section + (1 if key == "next" else -1)) % len(sections)
        elif key in ("a", "/", "<", ">", "r"):
            self._arrange(key, sections[self.section])
        else:
            self._move(key, sections[self.section])
        return None

    def _leave(self, key: str) -> None:
        """Go back to the list; from there, Escape ends the filter and q the program."""
        if self.mode is Mode.LIST and key == "escape":
            self.wanted.filter = ""
        self.is_over = self.mode is Mode.LIST and key == "q"
        self.mode = Mode.LIST

    def _arrange(self, key: str, section: Section) -> None:
        """Change what is shown, or in which order."""
        self.mode = Mode.FILTER if key == "/" else Mode.LIST
        if key == "a":
            self.wanted.only_own = not self.wanted.only_own
        elif key == "r":
            self.wanted.orders[section.name] = Order(section.order.column, not section.order.is_reversed)
        elif key in ("<", ">"):
            titles = ["", *(column.title for column in section.columns)]
            at = titles.index(section.order.column) if section.order.column in titles else 0
            column = titles[(at + (1 if key == ">" else -1)) % len(titles)]
            self.wanted.orders[section.name] = Order(column)
            self.message = f"Sorted by {column}." if column else "In the usual order."

    def _type(self, key: str) -> None:
        """Let a key change the filter; Enter keeps it and Escape ends it."""
        typed = getattr(key, "typed", key)
        if key in ("enter", "escape"):
            self.mode = Mode.LIST
            self.wanted.filter = self.wanted.filter if key == "enter" else ""
        elif key == "backspace":
            self.wanted.filter = self.wanted.filter[:-1]
        elif len(typed) == 1 and typed.isprintable():
            self.wanted.filter += typed

    def _move(self, key: str, section: Section) -> None:
        at, last = self.row_in(section), len(section.rows) - 1
        to = {"up": at - 1, "down": at + 1, "page up": at - PAGE, "page down": at + PAGE, "home": 0, "end": last}
        if section.rows and key in to:
            number = max(0, min(to[key], last))
            self.chosen[section.name] = (section.rows[number].id, number)

    def _ask(self, key: str, section: Section) -> None:
        """Ask whether a worker is to be drained, or a session ended; say where the key works if it does not here."""
        row = section.rows[self.row_in(section)] if section.rows else None
        if key == "d" and row and section.name == "Workers":
            details = row.details
            name, sessions = f"{details['name']} of {details['appliance']}", counted(details["active"], "session")
            question = f"Drain worker {name}, which has {sessions}?"
        elif key == "x" and row and section.name in _OF_SESSIONS:
            question = f"End session {_named(row)}?"
        else:
            self.message = "d drains a worker, x ends a session: choose one first (s changes the section)."
            return
        self.command, self.mode = Command(key == "d", row.id, question), Mode.QUESTION

    def _answer(self, key: str) -> Command | None:
        command, self.command, self.mode = self.command, None, Mode.LIST
        if key in ("y", "Y"):
            return command
        self.message = "Nothing was changed."
        return None


def _named(row: Row) -> str:
    return f"{row.id} ({row.details['name']})" if row.details["name"] else row.id
