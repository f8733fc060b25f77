"""A short chaos run: every important fault once, under load. `make chaos` runs for longer, with all faults."""

from __future__ import annotations

import pytest
from playwright.sync_api import Error, sync_playwright

from tests.chaos import targets
from tests.chaos.faults import Hit
from tests.chaos.journal import Story, stories
from tests.chaos.kinds import KINDS
from tests.chaos.load import Outcome
from tests.chaos.plan import Fault, plan
from tests.chaos.run import run
from tests.chaos.verdict import AFTERMATH_S, excuse
from tests.system.conftest import StartGrid
from tests.system.grid import tree
from tests.waiting import until

SEED = 3
GAPS_S = (0.5, 3.0)
# Without the pauses that nothing may notice at all: they are for the long run.
IMPORTANT = [kind for kind in KINDS if not kind.name.endswith(".pause")]


def test_under_every_fault_sessions_fail_only_by_their_own_and_all_is_whole_again() -> None:
    lines: list[str] = []
    report = run(plan(SEED, 0, GAPS_S, IMPORTANT), workers=2, clients=5, say=lines.append)
    assert not report.problems, "\n".join([*lines, *report.problems])
    assert {hit.fault.kind for hit in report.hits if not hit.missed} >= set(IMPORTANT), "\n".join(lines)
    assert report.passed > 20, "the load was no load"


def test_a_worker_whose_browser_has_lost_its_zygotes_is_replaced(start_grid: StartGrid, site: str) -> None:
    grid = start_grid(STARTUP_STAGGER=0.1)
    (worker,) = grid.available(1)
    with sync_playwright() as playwright:
        page = playwright.chromium.connect(grid.endpoint).new_page()
        for process in tree(worker.pid).values():
            if "--type=zygote" in process.cmdline():
                process.kill()
        with pytest.raises(
            Error, match=r"the browser of worker chromium-00 crashed: it can open no more pages|has been closed"
        ):
            until(lambda: page.title() == "never", "the client is told")
        (successor,) = grid.available(1)
        assert successor.id != worker.id
        with playwright.chromium.connect(grid.endpoint) as browser:
            browser.new_page().goto(site)


def test_a_proxy_that_was_paused_past_its_leases_does_not_reap_its_own_sessions(
    start_grid: StartGrid, site: str
) -> None:
    # To reap is due before to renew; and the worker speaks so often that the grid's clock goes on.
    grid = start_grid(REAPER_RUN_INTERVAL=0.2, HEARTBEAT_INTERVAL=0.1)
    with sync_playwright() as playwright, playwright.chromium.connect(grid.endpoint) as browser:
        page = browser.new_page()
        page.goto(site)
        store, (session,) = grid.registry.store, grid.registry.sessions()
        proxy = targets.process(grid, "proxy")
        proxy.suspend()
        try:
            expiry_ms = store.read(("ZSCORE", store.key("leases"), session.id))[0]
            until(lambda: grid.registry.now_ms() > expiry_ms, "the lease has expired")
        finally:
            proxy.resume()
        page.wait_for_timeout(1500)  # until the proxy has renewed and reaped, through the session itself
        assert page.title() == "A real page"


def test_the_same_seed_gives_the_same_plan_with_every_kind_of_fault_in_each_round() -> None:
    rounds = plan(7, 300)
    assert rounds == plan(7, 300) != plan(8, 300)
    assert len(rounds) > 1
    for faults in rounds:
        assert {fault.kind for fault in faults} == set(KINDS)
        assert faults == sorted(faults, key=lambda fault: fault.at_s)


def kind(name: str):
    return next(kind for kind in KINDS if kind.name == name)


def hit(name: str, worker: str = "", slot: str = "", began: float = 100.0, ended: float = 101.0) -> Hit:
    return Hit(Fault(1, 0.0, kind(name), 0, 0.0), began, ended, worker=worker, slot=slot)


def failed(error: str, stage: str = "use", began: float = 99.0, ended: float = 100.5) -> Outcome:
    return Outcome("s", began, ended, stage, error)


KILL = hit("worker.kill", "a.chromium-00.1", "chromium-00")
CRASHED = "Page.evaluate: worker chromium-00 crashed"
OWN, OTHER = Story("1", ["a.chromium-00.1"]), Story("2", ["a.chromium-01.2"])


@pytest.mark.parametrize(
    ("outcome", "story", "fault", "excused"),
    [
        (failed(CRASHED), OWN, KILL, True),
        (failed(CRASHED), OTHER, KILL, False),
        (failed(CRASHED), None, KILL, False),
        (failed("Target page, context or browser has been closed"), OWN, KILL, False),
        (failed("Page.evaluate: worker chromium-01 crashed"), OWN, KILL, False),
        (failed(CRASHED, began=101.1 + AFTERMATH_S, ended=110), OWN, KILL, False),
        (failed(CRASHED, began=90, ended=99.9), OWN, KILL, False),
        (failed("connect ECONNREFUSED 127.0.0.1:1", "connect"), None, hit("proxy.kill"), True),
        (failed("No chromium slot came free within 50 s", "connect"), None, hit("proxy.kill"), False),
        (failed("503 Redis does not answer", "connect"), None, hit("redis.freeze"), True),
        (failed("503 Redis does not answer", "use"), OWN, hit("redis.freeze"), False),
        (failed(CRASHED), OWN, hit("worker.drain", "a.chromium-00.1", "chromium-00"), False),
    ],
)
def test_only_a_fault_of_the_sessions_own_that_says_so_excuses_a_failure(
    outcome: Outcome, story: Story | None, fault: Hit, excused: bool
) -> None:
    assert (excuse(outcome, story, [fault]) is fault) == excused


def test_the_proxys_log_tells_which_worker_a_named_session_had() -> None:
    lines = [
        "half a li",
        '{"event": "session.started", "name": "s", "session": "1", "worker": "w"}',
        '{"event": "session.ended", "session": "1", "worker": "w", "reason": "closed"}',
    ]
    assert stories(lines) == {"s": Story("1", ["w"], ["closed"])}
