"""The history on a real Redis: one entry for each session that has ended, whoever ended it, and what it tells."""

from __future__ import annotations

import time

import pytest

from appliance.errors import Blame, ClientGone, DialFailed
from appliance.grid.grid import Grid
from appliance.grid.session import Kill, Session, hung_up
from appliance.grid.sessions import Sessions
from appliance.grid.story import Bounds, EndedBy, Filter, Story, Traffic
from appliance.grid.values import CrashCause, Grant, SessionRequest
from appliance.names import Browser
from appliance.request_errors import NoSlot, QueueFull, SessionKilled
from appliance.settings import config
from tests.support.claims import claim, spec

WANTED = SessionRequest(Browser.CHROMIUM, "1.65", name="nightly", token="ci", labels={"build": "4711"})
MOVED = Traffic(1, 22, 3, 4)
KEPT = SessionRequest(Browser.CHROMIUM, "1.65", kept_as="mine")


def claim_as(grid: Grid, session: str, request: SessionRequest = WANTED) -> None:
    grid.claim(session, request, proxy="here.p", lease_ms=60_000, wait_ms=60_000, queue_max=100)


def the_only_end(grid: Grid) -> Story:
    (ended,) = grid.history()
    return ended


@pytest.fixture
def here(grid: Grid) -> Grid:
    """Return a grid with one worker of one slot."""
    grid.register_worker(spec("here.chromium-00.1", concurrency=1))
    return grid


@pytest.fixture
def sessions(here: Grid, monkeypatch: pytest.MonkeyPatch) -> Sessions:
    """Return the sessions of a proxy, whose clients wait for a moment only."""
    monkeypatch.setenv("APPLIANCE_ENV", "/dev/null")
    return Sessions(here, config.load(queue_timeout=0.2, queue_max_length=1), "here.p")


def test_a_past_session_tells_what_it_was_and_what_it_moved(here: Grid) -> None:
    claim_as(here, "s")
    live = here.session("s")
    assert live
    assert (live.status, live.ended_ms, live.duration_ms, live.ended_by) == ("active", None, None, "")
    here.release("s", "session closed by operator", ended_by=EndedBy.OPERATOR, traffic=MOVED)
    past = the_only_end(here)
    assert past == here.session("s")
    assert (past.name, past.labels, past.token, past.worker) == ("nightly", {"build": "4711"}, "ci", live.worker)
    assert (past.status, past.end_reason, past.ended_by) == ("ended", "session closed by operator", "operator")
    assert (past.appliance, past.proxy, past.version, past.waited_ms) == ("here", "here.p", "1.65", 0)
    assert (past.bytes_from_client, past.bytes_to_client) == MOVED[:2]
    assert (past.messages_from_client, past.messages_to_client) == MOVED[2:]
    assert past.started_ms is not None
    assert past.ended_ms is not None
    assert past.started_ms <= past.ended_ms
    assert here.events()[-1]["bytes"] == "23"


def test_a_running_session_shows_what_was_last_reported(here: Grid) -> None:
    claim_as(here, "s")
    here.renew("here.p", {"s": "here.chromium-00.1"}, 60_000, traffic={"s": MOVED})
    here.renew("here.p", {"s": "here.chromium-00.1"}, 60_000)
    (live,) = here.stories()
    assert live.bytes_to_client == 22
    here.release_proxy("here.p")
    assert (the_only_end(here).ended_by, the_only_end(here).bytes_to_client) == ("appliance", 22)


@pytest.mark.parametrize(
    ("crash", "who"), [(CrashCause.DRIVER, "driver"), (CrashCause.MEMORY, "limit"), (CrashCause.SILENT, "worker")]
)
def test_what_crashed_ended_a_workers_sessions(here: Grid, crash: CrashCause, who: str) -> None:
    claim_as(here, "s")
    here.remove_worker("here.chromium-00.1", "the driver of worker chromium-00 ended", crash)
    assert (the_only_end(here).ended_by, the_only_end(here).bytes_to_client) == (who, 0)
    here.release("s", "the driver of worker chromium-00 ended", ended_by=EndedBy(who), traffic=MOVED)
    assert the_only_end(here).bytes_to_client == 22, "its proxy knows better, and says so once more"
    here.release("s", "the driver of worker chromium-00 ended", ended_by=EndedBy(who), traffic=MOVED)
    assert the_only_end(here).bytes_to_client == 22


def test_a_session_that_turns_out_to_run_has_not_ended(here: Grid) -> None:
    here.claim("s", WANTED, proxy="here.p", lease_ms=-1, wait_ms=60_000, queue_max=100)
    here.reap()
    assert the_only_end(here).end_reason == "its proxy stopped answering"
    grant = Grant("s", "here.chromium-00.1", "chromium-00", "here", 0)
    here.assert_session(grant, WANTED, proxy="here.p", lease_ms=60_000)
    assert here.history() == []
    here.release("s", "closed", traffic=MOVED)
    assert (the_only_end(here).end_reason, the_only_end(here).ended_by) == ("closed", "client")


def test_visits_of_a_kept_session_add_up_also_when_the_last_word_comes_late(here: Grid) -> None:
    claim_as(here, "s", KEPT)
    for visit, moved in (("a", Traffic(1, 1, 1, 1)), ("a", MOVED), ("b", Traffic(100, 100, 1, 1))):
        here.note_visits([("s", visit, moved)])
        here.note_visits([("s", visit, moved)])
    assert here.stories()[0].bytes_to_client == 122
    here.release("s", "closed", traffic=None)
    assert the_only_end(here).bytes_to_client == 122
    here.note_visits([("s", "b", Traffic(200, 200, 2, 2))])
    past = the_only_end(here)
    assert (past.bytes_from_client, past.bytes_to_client, past.messages_to_client) == (201, 222, 6)


def test_a_client_that_came_last_and_is_noted_last_takes_nothing_from_the_one_before(here: Grid) -> None:
    claim_as(here, "s", KEPT)
    here.note_visits([("s", "a", Traffic(1, 10, 1, 1))])
    here.release("s", "closed", traffic=None)
    here.note_visits([("s", "b", Traffic(2, 20, 2, 2))])
    here.note_visits([("s", "b", Traffic(3, 30, 3, 3))])
    assert the_only_end(here).bytes_to_client == 40


def test_a_late_note_of_a_visit_adds_only_what_it_has_moved_since(here: Grid) -> None:
    def note(visit: str, moved: int) -> None:
        for _ in range(2):
            here.note_visits([("s", visit, Traffic(moved, moved, 1, 1))])

    claim_as(here, "s", KEPT)
    for visit, moved in (("a", 10), ("b", 100), ("a", 11), ("b", 101)):
        note(visit, moved)
    assert here.stories()[0].bytes_to_client == 112
    note("c", 1000)
    assert here.stories()[0].bytes_to_client == 1112
    here.release("s", "closed", traffic=None)
    note("b", 102)
    note("c", 1001)
    assert (the_only_end(here).bytes_to_client, the_only_end(here).messages_to_client) == (1114, 3)


def test_visits_count_also_if_the_worker_is_lost_before_the_proxy_says_so(here: Grid) -> None:
    claim_as(here, "s", KEPT)
    for visit in ("a", "b"):
        here.note_visits([("s", visit, Traffic(1, 10, 1, 1))])
    here.remove_worker("here.chromium-00.1", "crashed")
    assert the_only_end(here).bytes_to_client == 20
    here.release("s", "worker chromium-00 crashed", ended_by=EndedBy.WORKER, traffic=None)
    assert (the_only_end(here).bytes_to_client, the_only_end(here).ended_by) == (20, "worker")


def test_a_page_of_the_history_ends_with_a_whole_millisecond(here: Grid) -> None:
    request = (
        '{"id": "%s", "name": "", "browser": "chromium", "minor": "", "client": "", "user_agent": "", "proxy": "p"}'
    )
    for entry, session in (("1000-0", "a"), ("2000-0", "b"), ("2000-1", "c"), ("2000-2", "d"), ("3000-0", "e")):
        fields = ("request", request % session, "end", "\n" * 8)
        here.store.read(("XADD", here.store.key("history"), entry, *fields))
    page = here.history(count=2, is_page=True)
    assert [one.id for one in page] == ["e", "d", "c", "b"]
    assert [one.id for one in here.history(count=2, before_ms=page[-1].ended_ms, is_page=True)] == ["a"]
    assert [one.id for one in here.history(count=2)] == ["e", "d"]


def test_an_entry_of_another_format_does_not_hide_the_others(here: Grid) -> None:
    claim_as(here, "s")
    here.release("s", "closed")
    for fields in (("request", '{"id": "old"}', "worker", ""), ("request", '{"id": "old"}', "end", "short")):
        here.store.read(("XADD", here.store.key("history"), "*", *fields))
    assert [one.id for one in here.history()] == [one.id for one in here.ended_after(0, 10)] == ["s"]
    assert here.session("old") is None


def test_a_cause_that_this_version_does_not_know_is_the_workers() -> None:
    assert [EndedBy.of(text) for text in ("driver", "", "sunspots")] == ["driver", "worker", "worker"]


def test_refused_and_impatient_clients_are_told_apart(here: Grid, sessions: Sessions) -> None:
    claim_as(here, "holder")
    with pytest.raises(NoSlot), sessions.open(WANTED, lambda _: None):
        pytest.fail("no slot was free")
    late = the_only_end(here)
    assert (late.ended_by, late.granted_ms, late.duration_ms) == ("grid", None, None)
    assert late.end_reason == "No chromium slot came free within 0.2 s."
    assert late.waited_ms is not None
    assert late.waited_ms >= 200
    with pytest.raises(ClientGone), sessions.open(WANTED, lambda session: session.end(hung_up())):
        pytest.fail("no slot was free")
    assert [one.ended_by for one in here.history()] == ["client", "grid"]
    claim_as(here, "waiting")
    with pytest.raises(QueueFull), sessions.open(WANTED, lambda _: None):
        pytest.fail("the queue was full")
    assert len(here.history()) == 2, "who finds the queue full has no session"
    assert here.why(late.id) == [
        f"It waited {late.waited_ms / 1000:.1f} s, because when it came all slots of the only available chromium "
        "worker of Playwright 1.65 were taken.",
        "It never had a slot.",
        "The grid refused it: No chromium slot came free within 0.2 s.",
    ]


def test_why_tells_of_the_queue_and_the_workers_end(here: Grid) -> None:
    claim_as(here, "first")
    claim_as(here, "second")
    claim_as(here, "third")
    here.release("first", "closed")
    here.release("second", "closed")
    here.remove_worker("here.chromium-00.1", "the driver of worker chromium-00 ended: signal 9", CrashCause.DRIVER)
    story = here.session("third")
    assert story
    assert here.why("third") == [
        f"It waited {(story.waited_ms or 0) / 1000:.1f} s, because when it came all slots of the only available "
        "chromium worker of Playwright 1.65 were taken and 1 session waited before it.",
        f"It ran on worker chromium-00 of appliance here for {(story.duration_ms or 0) / 1000:.1f} s.",
        "Its driver ended it: the driver of worker chromium-00 ended: signal 9.",
    ]
    assert here.why("unknown") == []


def test_why_tells_of_workers_that_were_given_back_and_why_the_last_one_left(here: Grid) -> None:
    worker = "here.chromium-00.1"
    claim_as(here, "s")
    here.give_back("s", worker, Blame.WORKER)
    here.heartbeat_worker(worker, 0, healthy=True)
    claim_as(here, "s")
    here.drain_worker(worker, "grew past WORKER_MAX_MEMORY")
    here.release("s", "worker chromium-00 is gone", ended_by=EndedBy.WORKER)
    here.remove_worker(worker, "a fault", CrashCause.WORKER)
    here.store.read(*[("XADD", here.store.key("events"), "*", "event", "another")] * 3000)
    assert [line for line in here.why("s") if " ran " not in line and "slot" not in line] == [
        f"It was given worker {worker} and gave it back, because its driver did not answer.",
        "Its worker ended it: worker chromium-00 is gone.",
        "Its worker drained: grew past WORKER_MAX_MEMORY.",
        "Its worker ended: a fault.",
    ]


def test_why_tells_workers_apart_that_are_full_suspect_or_silent(grid: Grid) -> None:
    for worker in ("here.chromium-00.1", "here.chromium-01.1", "here.chromium-02.1"):
        grid.register_worker(spec(worker, concurrency=1))
    for session in ("a", "b", "c"):
        claim_as(grid, session)
    held = {story.worker: story.id for story in grid.stories()}
    grid.give_back(held["here.chromium-01.1"], "here.chromium-01.1")
    grid.register_worker(spec("here.chromium-02.1", concurrency=1, ttl_ms=-1))
    claim_as(grid, "late")
    kind = "chromium worker of Playwright 1.65"
    assert grid.why("late") == [
        f"It waits, because when it came all slots of 1 available {kind} were taken, 1 {kind} was suspect because a "
        f"dial had failed and 1 {kind} was silent for too long."
    ]


def test_why_tells_what_a_session_avoided(here: Grid) -> None:
    here.claim("s", WANTED, proxy="here.p", lease_ms=60_000, wait_ms=60_000, queue_max=9, avoid=["here.chromium-00.1"])
    assert here.why("s") == ["It waits, because when it came its proxy had not reached 1 worker or appliance."]


def test_why_does_not_count_a_silent_worker_as_free(here: Grid) -> None:
    here.store.read(("ZADD", here.store.key("workers"), 1, "here.chromium-00.1"))
    here.claim("s", WANTED, proxy="here.p", lease_ms=60_000, wait_ms=60_000, queue_max=9, avoid=["here.chromium-00.1"])
    assert here.why("s") == [
        "It waits, because when it came 1 chromium worker of Playwright 1.65 was silent for too long and its proxy "
        "had not reached 1 worker or appliance."
    ]


def test_a_session_whose_worker_was_lost_before_the_dial_has_waited_since_it_came(here: Grid) -> None:
    sessions = Sessions(here, config.load(queue_timeout=60), "here.p")
    with sessions.open(WANTED, lambda _: None) as session:
        time.sleep(0.05)
        here.remove_worker("here.chromium-00.1", "it is gone")
        here.register_worker(spec("here.chromium-01.1"))
        sessions.retry(session, DialFailed("it is gone", Blame.WORKER), lambda _: None)
        (story,) = here.stories()
        assert (story.worker, (story.waited_ms or 0) >= 50) == ("here.chromium-01.1", True)


def test_the_history_is_searched_by_what_a_session_was(here: Grid) -> None:
    for number in range(3):
        claim_as(
            here, f"s{number}", SessionRequest(Browser.CHROMIUM, "1.65", name=f"n{number}", labels={"k": str(number)})
        )
        here.release(f"s{number}", "closed")

    def found(**filters: object) -> list[str]:
        return [one.id for one in here.history(filters=Filter(**filters))]  # type: ignore[arg-type]

    assert found() == ["s2", "s1", "s0"]
    assert found(name="n1") == found(labels={"k": "1"}) == ["s1"]
    assert found(name="n*", worker="chromium-00", appliance="here", ended_by="client") == ["s2", "s1", "s0"]
    assert found(labels={"k": "*", "l": "*"}) == found(token="ci") == found(browser="firefox") == []
    claim_as(here, "t", SessionRequest(Browser.CHROMIUM, "1.65", client="10.9.8.7", token="nightly-ci", kept_as="cart"))
    here.release("t", "session closed by operator", ended_by=EndedBy.OPERATOR)
    for text in ("NIGHTLY-ci", "cart", "9.8.7", "by operator", "operator"):
        assert found(search=text) == ["t"]
    assert (found(search="k=2"), found(search="closed")) == (["s2"], ["t", "s2", "s1", "s0"])
    assert [one.id for one in here.history(count=2)] == ["t", "s2"]
    newest = here.history()[0].ended_ms
    assert newest
    assert here.history(before_ms=newest + 1)[0].id == "t"
    assert all((one.ended_ms or 0) < newest for one in here.history(before_ms=newest))


def test_a_long_history_is_read_whole(here: Grid) -> None:
    for number in range(450):
        claim_as(here, f"s{number}")
        here.release(f"s{number}", "closed")
    assert len({one.id for one in here.history(count=1000)}) == 450
    assert here.session("s0")


def test_the_reaper_keeps_the_history_within_its_bounds(here: Grid) -> None:
    for number in range(7):
        claim_as(here, f"s{number}")
        here.release(f"s{number}", "closed")
    here.reap(history=Bounds(5, 3600))
    assert [one.id for one in here.history()] == ["s6", "s5", "s4", "s3", "s2"]
    here.store.read(
        ("SET", here.store.key("clock"), f"0 {here.now_ms()} 999999999999999")
    )  # the grid's time leaps forward
    here.reap(history=Bounds(5, 60))
    assert here.history() == []


def test_an_end_is_written_although_the_grids_clock_was_lost(here: Grid) -> None:
    claim_as(here, "first")
    fields = ("request", '{"id": "x"}', "end", "\n" * 8)
    here.store.read(("XADD", here.store.key("history"), "9999999999999-5", *fields))
    here.release("first", "closed")
    (entries,) = here.store.read(("XRANGE", here.store.key("history"), "-", "+"))
    assert [entry for entry, _ in entries] == ["9999999999999-5", "9999999999999-6"]


def test_an_end_is_written_to_an_empty_history_although_the_clock_was_lost(here: Grid) -> None:
    claim_as(here, "first")
    name = here.store.key("history")
    fields = ("request", '{"id": "x"}', "end", "\n" * 8)
    here.store.read(("XADD", name, "9999999999999-5", *fields), ("XTRIM", name, "MAXLEN", 0))
    here.release("first", "closed")
    assert here.store.read(("XRANGE", name, "-", "+"))[0][0][0] == "9999999999999-6"


def test_a_reason_may_have_lines(here: Grid) -> None:
    claim_as(here, "s")
    here.release("s", "one\ntwo\n\nthree", ended_by=EndedBy.DRIVER)
    assert (the_only_end(here).end_reason, the_only_end(here).ended_by) == ("one\ntwo\n\nthree", "driver")


def test_a_past_session_is_found_by_its_id_or_the_beginning_of_it_whenever_it_ended(here: Grid) -> None:
    for number in range(450):
        claim_as(here, f"s{number}")
        here.release(f"s{number}", "closed")
    found = here.session("s17")
    assert found
    assert found.id == "s17"
    assert here.session("s450") is None
    claim_as(here, "s450")
    here.remove_worker("here.chromium-00.1", "crashed")
    assert here.session("s450")
    here.release("s450", "closed", ended_by=EndedBy.OPERATOR)
    amended = here.session("s450")
    assert amended
    assert amended.ended_by == "operator", "the entry that has taken its place is found"
    assert {one.id for one in here.beginning_with("s44", 20)} == {"s44", *(f"s44{number}" for number in range(10))}
    assert len(here.beginning_with("s44", 2)) == 2


def test_a_session_that_came_back_is_found_once_by_the_beginning_of_its_id(here: Grid) -> None:
    here.claim("3fa9", WANTED, proxy="here.p", lease_ms=-1, wait_ms=60_000, queue_max=100)
    here.reap()
    assert [one.status for one in here.beginning_with("3fa", 20)] == ["ended"]
    here.assert_session(
        Grant("3fa9", "here.chromium-00.1", "chromium-00", "here", 0), WANTED, proxy="here.p", lease_ms=60_000
    )
    assert [one.status for one in here.beginning_with("3fa", 20)] == ["active"]


def test_the_index_forgets_what_the_history_has_forgotten(here: Grid) -> None:
    for number in range(450):
        claim_as(here, f"s{number}")
        here.release(f"s{number}", "closed")
    assert here.session("s3")
    here.reap(history=Bounds(5, 3600))
    assert here.session("s3") is None
    assert here.store.read(("HLEN", here.store.key("index")))[0] == 6


@pytest.mark.parametrize(("kill", "who"), [(Kill.BY_OPERATOR, "operator"), (Kill.BY_OWNER, "owner")])
def test_an_operators_order_and_the_owners_are_told_apart(kill: Kill, who: str, here: Grid, sessions: Sessions) -> None:
    claim_as(here, "holder")
    with (
        pytest.raises(SessionKilled, match=kill),
        sessions.open(WANTED, lambda waiting: sessions.handle({"kill": waiting.id, "reason": kill})),
    ):
        pytest.fail("no slot was free")
    ended = the_only_end(here)
    assert (ended.ended_by, ended.end_reason) == (who, kill)
    assert here.why(ended.id)[-1] == f"{'An operator' if who == 'operator' else 'Its owner'} ended it: {kill}."


def test_a_session_that_ends_before_it_is_relayed_says_how_its_client_was_answered() -> None:
    session = Session(WANTED, None)  # type: ignore[arg-type]
    session.fail(NoSlot("No slot."))
    session.fail(ClientGone("late"))
    assert (session.end_reason, session.ended_by) == ("No slot.", EndedBy.GRID)


def test_a_claim_is_not_an_end(grid: Grid) -> None:
    grid.register_worker(spec("A"))
    claim(grid, "s")
    grid.release("s", "its worker was lost before it was dialled", ended_by=None)
    assert grid.history() == []
