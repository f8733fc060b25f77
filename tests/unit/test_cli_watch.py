"""The screen of `applctl status --watch`: what fits, what is said of the rest, and what keys do."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rich.segment import Segment

from appliance.checks.view import GridView
from appliance.cli.output import console
from appliance.cli.terminal import Key
from appliance.cli.watch_columns import short_duration, short_rate, short_size
from appliance.cli.watch_screen import Screen, shares
from appliance.cli.watch_sections import Section, Wanted
from appliance.cli.watch_sections import sections_of as sections_as_wanted
from appliance.cli.watch_snapshot import Rate, Rates, Snapshot
from appliance.cli.watch_state import Mode, State
from appliance.grid.records import ApplianceInfo, PoolCapacity, WorkerInfo
from appliance.grid.story import Story
from appliance.machine.supervisor import ProcessInfo
from appliance.settings.config import Settings

NOW_S = 1_700_000_000.0
MS = int(NOW_S * 1000)


def worker(number: int, status: str = "available", appliance: str = "one") -> WorkerInfo:
    name = f"chromium-{number:02}"
    return WorkerInfo(
        *(f"{appliance}.{name}.abcdef", "chromium", "1.65.1", appliance, name, status, 3, 17, 5, 50, MS - 5000, MS, 7),
        memory_bytes=2**28,
        suspect=False,
        stale=False,
    )


def session(number: int, status: str = "active", worker_id: str = "one.chromium-00.abcdef", **request: object) -> Story:
    claim = {"id": f"{number:016x}", "name": f"n{number}", "browser": "chromium", "minor": "1.65", "client": "10.0.0.1"}
    claim |= {"user_agent": "", "proxy": "one.1", "isolation": "browser" if number % 2 else "context", **request}
    held = "" if status == "waiting" else worker_id
    fields = {"request": json.dumps(claim), "status": status, "worker": held, "started": str(MS - 65_000 - number)}
    return Story.parse(
        {**fields, "granted": fields["started"] if held else "", "traffic": f"{number}000 {number}000000 1 1"}
    )


def sections_of(snapshot: Snapshot) -> list[Section]:
    return sections_as_wanted(snapshot, Wanted(), is_wide=False)


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
    assert "isolation             context" in text
    state.why = (state.asks_about(sections), ["It waited for 3 s."])
    assert "why                   It waited for 3 s." in drawn(snapshot, state, 80, 40)
    state.press("q", sections)
    assert (state.mode, state.is_over) == (Mode.LIST, False)
    state.press("q", sections)
    assert state.is_over


@pytest.fixture
def two_appliances(snapshot: Snapshot) -> Snapshot:
    """Add another appliance with a worker that has a session; some sessions of both move something."""
    view = snapshot.view
    view.other_workers.append(worker(3, appliance="two"))
    view.sessions.append(session(500, worker_id="two.chromium-03.abcdef", proxy="two.2", labels={"build": "4711"}))
    snapshot.appliances = [ApplianceInfo("one"), ApplianceInfo("two")]
    snapshot.rates = {f"{500:016x}": Rate(500, 12_345), f"{7:016x}": Rate(0, 2_000_000)}
    return snapshot


def shown(snapshot: Snapshot, state: State, name: str, width: int = 140) -> list[list[str]]:
    """Return the section's rows, as the cells that the screen shows."""
    (section,) = (one for one in Screen(snapshot, state).sections(snapshot, width) if one.name == name)
    return [[str(cell) for cell in row.cells] for row in section.rows]


def press(snapshot: Snapshot, state: State, *keys: str, width: int = 140) -> None:
    for key in keys:
        state.press(Key.of(key), Screen(snapshot, state).sections(snapshot, width))


@pytest.mark.parametrize("width", [80, 140])
def test_the_whole_grid_is_shown_and_each_session_with_what_it_moves(width: int, two_appliances: Snapshot) -> None:
    lines = drawn(two_appliances, State(section=1), width, 100)
    assert any("2 appliances, 41 sessions, 12 waiting, 500B/s in, 2.0MB/s out" in line for line in lines)
    assert any(line.startswith("chromium-03") and " two " in line for line in lines)
    (line,) = (line for line in lines if "build=4711" in line)
    assert {"1m05", "chromium-03@two", "10.0.0.1", "500k", "500M", "13k/s"} <= set(line.split())
    assert ("context" if width == 140 else "ctx") in line.split()


def test_a_key_leaves_only_what_is_of_this_appliance(two_appliances: Snapshot) -> None:
    state = State()
    press(two_appliances, state, "a")
    assert [len(shown(two_appliances, state, name)) for name in ("Workers", "Sessions", "Appliances")] == [30, 40, 1]
    assert any("only one (a: the grid)" in line for line in drawn(two_appliances, state, 80, 24))
    press(two_appliances, state, "a")
    assert [len(shown(two_appliances, state, name)) for name in ("Workers", "Sessions", "Appliances")] == [31, 41, 2]


def test_sessions_are_sorted_by_the_column_that_is_chosen(two_appliances: Snapshot) -> None:
    state = State(section=1)
    before = shown(two_appliances, state, "Sessions")
    press(two_appliances, state, "<", "<", width=80)  # from behind: first the last column, then the rate
    rates = [row[-2] for row in shown(two_appliances, state, "Sessions", 80)]
    assert rates[:3] == ["2.0M/s", "13k/s", ""]
    assert any("Rate▼" in line for line in drawn(two_appliances, state, 80, 24))
    press(two_appliances, state, "r", width=80)
    assert shown(two_appliances, state, "Sessions", 80)[-1][-2] == "2.0M/s"
    press(two_appliances, state, ">", ">", width=80)
    assert shown(two_appliances, state, "Sessions") == before


def test_a_filter_finds_rows_by_what_is_known_of_them(two_appliances: Snapshot) -> None:
    state = State(section=1)
    press(two_appliances, state, "/", *"build=47111", "\x7f")
    assert drawn(two_appliances, state, 80, 24)[-1].startswith("/ build=4711")
    assert [row[-1] for row in shown(two_appliances, state, "Sessions")] == ["n500 build=4711"]
    press(two_appliances, state, "\r", "x")
    assert state.command
    assert state.command.id == f"{500:016x}"
    press(two_appliances, state, "n")
    assert any("SESSIONS 1/41" in line for line in drawn(two_appliances, state, 80, 24))
    press(two_appliances, state, "\x1b")
    assert len(shown(two_appliances, state, "Sessions")) == 41


def test_keys_that_mean_something_else_are_letters_of_a_filter(two_appliances: Snapshot) -> None:
    state = State()
    press(two_appliances, state, "/", *"sj Gq", "\t", "\r")
    assert (state.wanted.filter, state.mode, state.section) == ("sj Gq", Mode.LIST, 0)


def test_help_names_all_keys_and_any_key_ends_it(snapshot: Snapshot) -> None:
    state = State()
    press(snapshot, state, "?")
    text = "\n".join(drawn(snapshot, state, 80, 40))
    assert all(words in text for words in ("filter", "sort", "drain a worker", "this appliance only"))
    press(snapshot, state, "q")
    assert (state.mode, state.is_over) == (Mode.LIST, False)


def test_a_rate_is_what_was_reported_since_the_last_renewal() -> None:
    rates = Rates()

    def note(at_s: float, to_client: int) -> dict[str, Rate]:
        one = replace(session(1), bytes_to_client=to_client)
        return {key[-1:]: rate for key, rate in rates.note([one], at_s, renewal_s=5).items()}

    assert note(100, 1000) == {}, "what it moved before is no rate"
    assert note(101, 6000) == {"1": Rate(0, 1000)}
    assert note(105, 6000) == {"1": Rate(0, 1000)}, "its proxy has not reported again"
    assert note(120, 6000) == {}, "it has moved nothing since"
    assert note(130, 26_000) == {"1": Rate(0, 2000)}, "nobody has looked for 10 s"
    assert rates.note([], 131, renewal_s=5) == {}


def test_numbers_are_written_as_briefly_as_they_can_be_read() -> None:
    assert [short_size(n) for n in (0, 999, 1234, 9949, 9960, 999_600, 33e6)] == [
        *("0", "999", "1.2k", "9.9k", "10k", "1.0M", "33M"),
    ]
    assert [short_rate(n) for n in (0, 0.4, 1500)] == ["", "", "1.5k/s"]
    assert [short_duration(s) for s in (-1, 45, 192, 7500, 273_600)] == ["0s", "45s", "3m12", "2h05", "3d04"]
