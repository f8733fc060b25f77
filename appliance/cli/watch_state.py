"""What the keys of `applctl status --watch` do: which section and row are chosen, and what is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from appliance.cli.output import counted
from appliance.cli.watch_sections import Row, Section

PAGE = 10  # rows

_OF_SESSIONS = ("Sessions", "Queue")


class Mode(Enum):
    """What the screen shows."""

    LIST = auto()
    DETAILS = auto()
    QUESTION = auto()


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator orders: to drain a worker, or to end a session."""

    is_drain: bool
    id: str
    question: str


@dataclass(slots=True)
class State:
    """What is chosen. A row is chosen by its id, and keeps its place if it is gone.

    `why` has the id of the last session that was looked at closer, and its story in sentences.
    """

    section: int = 0
    chosen: dict[str, tuple[str, int]] = field(default_factory=dict)
    mode: Mode = Mode.LIST
    order: Order | None = None
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

    def press(self, key: str, sections: list[Section]) -> Order | None:
        """Do what a key means. Return what is to be done in the grid."""
        if self.mode is Mode.QUESTION:
            return self._answer(key)
        self.message = ""
        if key == "q" or (key == "escape" and self.mode is Mode.DETAILS):
            self.is_over = self.mode is Mode.LIST
            self.mode = Mode.LIST
        elif key == "enter":
            has_rows = bool(sections[self.section].rows)
            self.mode = Mode.DETAILS if self.mode is Mode.LIST and has_rows else Mode.LIST
        elif key in ("next", "previous") and self.mode is Mode.LIST:
            self.section = (self.section + (1 if key == "next" else -1)) % len(sections)
        elif key in ("d", "x"):
            self._ask(key, sections[self.section])
        else:
            self._move(key, sections[self.section])
        return None

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
            question = f"Drain worker {row.details['name']}, which has {counted(row.details['active'], 'session')}?"
        elif key == "x" and row and section.name in _OF_SESSIONS:
            question = f"End session {_named(row)}?"
        else:
            self.message = "d drains a worker, x ends a session: choose one first (s changes the section)."
            return
        self.order, self.mode = Order(key == "d", row.id, question), Mode.QUESTION

    def _answer(self, key: str) -> Order | None:
        order, self.order, self.mode = self.order, None, Mode.LIST
        if key in ("y", "Y"):
            return order
        self.message = "Nothing was changed."
        return None


def _named(row: Row) -> str:
    return f"{row.id} ({row.details['name']})" if row.details["name"] else row.id
