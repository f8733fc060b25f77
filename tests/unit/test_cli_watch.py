"""The screen of `applctl status --watch`: what fits, what is said of the rest, and what keys do."""

from __future__ import annotations

import pytest
from rich.segment import Segment

from appliance.checks.view import GridView
from appliance.cli.output import console
from appliance.cli.watch_screen import Screen, shares
from appliance.cli.watch_sections import Snapshot, sections_of
from appliance.cli.watch_state import Mode, State
from appliance.grid.records import PoolCapacity, SessionInfo, WorkerInfo
from appliance.machine.supervisor import ProcessInfo
from appliance.settings.config import Settings

NOW_S = 1_700_000_000.0
MS = int(NOW_S * 1000)


def worker(number: int, status: str = "available") -> WorkerInfo:
    name = f"chromium-{number:02}"
    return WorkerInfo(
        *(f"one.{name}.abcdef", "chromium", "1.65.1", "one", name, status, 3, 17, 5, 50, MS - 5000, MS, 7, 2**28),
        suspect=False,
        stale=False,
    )


def session(number: int, status: str = "active") -> SessionInfo:
    held = "" if status == "waiting" else "one.chromium-00.abcdef"
    return SessionInfo(f"{number:016x}", status, "chromium", "1.65", held, "one.1", "10.0.0.1", "", f"n{number}", MS)


@pytest.fixture
def snapshot(settings_file: object) -> Snapshot:
    """Return a full grid: 30 workers, one of which drains, 40 sessions, and 12 more that wait."""
    view = GridView(
        Settings(appliance_name="one", chromium_workers=30),
        supervisor_pid=1,
        processes=[ProcessInfo("proxy", "proxy", "RUNNING", 7, 10)],
        workers=[*(worker(number) for number in range(29)), worker(29, "draining")],
        pools=[PoolCapacity("chromium", "1.65", {"available": 29, "draining": 1}, 150, 150, 0, 12)],
        sessions=[*(session(n) for n in range(40)), *(session(n, "waiting") for n in range(100, 112))],
        proxy_answers=True,
        ready=True,
    )
    events = [{"id": f"{MS}-{n}", "event": "session.started", "session": "\x1b[31mred"} for n in range(50)]
    return Snapshot(view, NOW_S, events=events, memory_total=2**33, memory_used=2**32)


def drawn(snapshot: Snapshot, state: State, width: int, height: int) -> list[str]:
    """Return the lines of the screen."""
    terminal = console()
    options = terminal.options.update(width=width, height=height)
    lines = terminal.render_lines(Screen(snapshot, state), options, pad=False)
    assert all(Segment.get_line_length(line) <= width for line in lines)
    return ["".join(segment.text for segment in line).rstrip() for line in lines]


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("height", [6, 10, 24, 50, 200])
@pytest.mark.parametrize("mode", [Mode.LIST, Mode.DETAILS])
def test_it_fills_a_terminal_of_any_size_and_no_more(width: int, height: int, mode: Mode, snapshot: Snapshot) -> None:
    lines = drawn(snapshot, State(mode=mode), width, height)
    assert len(lines) == height
    assert lines[-1].startswith("q quit")
    assert not any("\x1b" in line for line in lines), "what clients say does not reach the terminal as it is"


def test_a_worker_that_drains_comes_first_and_rows_that_do_not_fit_are_counted(snapshot: Snapshot) -> None:
    lines = drawn(snapshot, State(), 80, 24)
    at = next(number for number, line in enumerate(lines) if line.startswith("WORKERS 30"))
    assert lines[at + 1].split()[:2] == ["chromium-29", "draining"]
    rows = sum(line.startswith("chromium-") for line in lines)
    assert f"  … {30 - rows} more" in lines
    assert {"SESSIONS", "QUEUE", "APPLIANCES", "EVENTS"} <= {line.split()[0] for line in lines if line}


def test_the_chosen_section_gets_the_room_that_there_is(snapshot: Snapshot) -> None:
    sections = sections_of(snapshot)
    for chosen in range(len(sections)):
        given = shares(sections, chosen, 40)
        assert sum(given) == 40
        assert all(0 < lines <= 1 + len(one.rows) for lines, one in zip(given, sections, strict=True))
    assert shares(sections, 1, 40)[1] > shares(sections, 0, 40)[1]
    assert shares(sections, 4, 3) == [0, 0, 0, 0, 3]


def test_the_chosen_row_is_always_shown(snapshot: Snapshot) -> None:
    state = State()
    for _ in range(25):
        state.press("down", sections_of(snapshot))
    chosen = sections_of(snapshot)[0].rows[25].id.split(".")[1]
    lines = drawn(snapshot, state, 80, 20)
    assert any(line.startswith(chosen) for line in lines)
    assert any(" above, " in line for line in lines)


def test_a_chosen_row_stays_chosen_when_others_come_and_go(snapshot: Snapshot) -> None:
    state = State(section=1)
    state.press("down", sections_of(snapshot))
    (before,) = {sections_of(snapshot)[1].rows[state.row_in(sections_of(snapshot)[1])].id}
    snapshot.view.sessions.insert(0, session(999))
    section = sections_of(snapshot)[1]
    assert section.rows[state.row_in(section)].id == before


def test_a_worker_is_drained_only_after_a_yes(snapshot: Snapshot) -> None:
    state, sections = State(), sections_of(snapshot)
    assert state.press("d", sections) is None
    assert "Drain worker chromium-29" in drawn(snapshot, state, 80, 24)[-1]
    assert state.press("n", sections) is None
    state.press("d", sections)
    order = state.press("y", sections)
    assert order
    assert (order.is_drain, order.id) == (True, "one.chromium-29.abcdef")


def test_a_session_is_ended_where_sessions_are_chosen(snapshot: Snapshot) -> None:
    state, sections = State(), sections_of(snapshot)
    assert state.press("x", sections) is None
    assert state.mode is Mode.LIST, "a worker is no session"
    state.press("next", sections)
    state.press("x", sections)
    order = state.press("y", sections)
    assert order
    assert (order.is_drain, order.id) == (False, f"{0:016x}")


def test_enter_shows_all_that_is_known_and_q_goes_back_before_it_ends(snapshot: Snapshot) -> None:
    state, sections = State(section=1), sections_of(snapshot)
    state.press("enter", sections)
    text = "\n".join(drawn(snapshot, state, 80, 40))
    assert "isolation       context" in text
    state.why = (state.asks_about(sections), ["It waited for 3 s."])
    assert "why             It waited for 3 s." in drawn(snapshot, state, 80, 40)
    state.press("q", sections)
    assert (state.mode, state.is_over) == (Mode.LIST, False)
    state.press("q", sections)
    assert state.is_over
