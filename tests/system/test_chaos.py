"""A short chaos run: every important fault once, under load. `make chaos` runs for longer, with all faults."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import redis
from playwright.sync_api import Error, sync_playwright

from tests.chaos import journal, redis_faults, targets
from tests.chaos.bounded import ProcessGroup
from tests.chaos.causes import out_of_descriptors
from tests.chaos.faults import Hit
from tests.chaos.journal import Story, stories
from tests.chaos.kinds import KINDS, Target, possible
from tests.chaos.plan import Fault, plan
from tests.chaos.run import run
from tests.chaos.verdict import AFTERMATH_S, excuse
from tests.support.appliance import StartGrid, tree
from tests.support.load import Outcome
from tests.support.looks import command_of
from tests.support.waiting import until

SEED = 3
GAPS_S = (0.5, 2.0)
IS_ROOT = os.geteuid() == 0
# Without the pauses that nothing may notice at all, which are for the long run, and what tests/attacks try.
IMPORTANT = [
    kind
    for kind in possible(on_own_machine=IS_ROOT)
    if kind.act != "pause" and (kind.target is not Target.CLIENT or kind.act.startswith("l"))
]


def test_under_every_fault_sessions_fail_only_by_their_own_and_all_is_whole_again() -> None:
    lines: list[str] = []
    report = run(plan(SEED, 0, GAPS_S, IMPORTANT), workers=1 if IS_ROOT else 2, clients=5, say=lines.append)
    assert not report.problems, "\n".join([*lines, *report.problems])
    assert {hit.fault.kind for hit in report.hits if not hit.missed} >= set(IMPORTANT), "\n".join(lines)
    assert report.passed > 20, "the load was no load"


def test_a_worker_whose_browser_has_lost_its_zygotes_is_replaced(start_grid: StartGrid, site: str) -> None:
    grid = start_grid(STARTUP_STAGGER=0.1)
    (worker,) = grid.available(1)
    with sync_playwright() as playwright:
        page = playwright.chromium.connect(grid.endpoint).new_page()
        for process in tree(worker.pid).values():
            if "--type=zygote" in command_of(process):
                with suppress(psutil.NoSuchProcess):  # it ended with another zygote
                    process.kill()
        with pytest.raises(
            Error, match=r"the browser of worker chromium-00 crashed: it can open no more pages|has been closed"
        ):
            until(lambda: page.title() == "never", "the client is told")
        grid.successor(worker)
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
        store, (session,) = grid.state.store, grid.state.sessions()
        proxy = targets.process(grid, "proxy")
        proxy.suspend()
        try:
            expiry_ms = store.read(("ZSCORE", store.key("leases"), session.id))[0]
            until(lambda: grid.state.now_ms() > expiry_ms, "the lease has expired")
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


def hit(name: str, worker: str = "", worker_name: str = "") -> Hit:
    return Hit(Fault(1, 0.0, kind(name), 0, 0.0), 100.0, 101.0, appliance="a", worker=worker, worker_name=worker_name)


def failed(error: str, stage: str = "use", began: float = 99.0, ended: float = 100.5, appliance: str = "a") -> Outcome:
    return Outcome("s", began, ended, stage, error, appliance)


KILL = hit("worker.kill", "a.chromium-00.1", "chromium-00")
DOOR = "Page.evaluate: the connection to appliance a was lost"
SHUT = '503 {"message": "This appliance cannot reach the workers of a: appliance a is not reached at 10.0.0.1:1"}'
CRASHED = "Page.evaluate: worker chromium-00 crashed"
OWN, OTHER, REMOTE = (Story("1", [worker]) for worker in ("a.chromium-00.1", "a.chromium-01.2", "b.chromium-00.3"))


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
        (failed("connect ECONNREFUSED 127.0.0.1:1", "connect", appliance="b"), None, hit("proxy.kill"), False),
        (failed(DOOR, appliance="b"), OWN, hit("proxy.kill"), True),
        (failed(DOOR, appliance="b"), REMOTE, hit("proxy.kill"), False),
        (failed(DOOR, appliance="b"), OWN, hit("proxy.pause"), False),
        (failed("Browser closed", appliance="b"), OWN, hit("proxy.kill"), False),
        (failed(SHUT, "connect", appliance="b"), None, hit("proxy.kill"), True),
        (failed(SHUT.replace("of a:", "of c:"), "connect", appliance="b"), None, hit("proxy.kill"), False),
        (failed(SHUT, "connect", appliance="b"), None, hit("appliance.cut-off"), True),
        (failed("Target crashed"), OWN, hit("appliance.forks"), True),
        (failed("Target crashed"), REMOTE, hit("appliance.forks"), False),
        (failed(CRASHED), OWN, hit("appliance.forks", "a.chromium-00.1", "chromium-00"), True),
        (failed(CRASHED), OTHER, hit("appliance.forks", "a.chromium-00.1", "chromium-00"), False),
        (failed(CRASHED), OWN, hit("appliance.cut-off"), False),
        (failed("503 Redis does not answer", "connect"), None, hit("redis.freeze"), True),
        (failed("503 Redis does not answer", "use"), OWN, hit("redis.freeze"), False),
        (failed(CRASHED), OWN, hit("worker.drain", "a.chromium-00.1", "chromium-00"), False),
    ],
)
def test_only_a_fault_of_the_sessions_own_that_says_so_excuses_a_failure(
    outcome: Outcome, story: Story | None, fault: Hit, excused: bool
) -> None:
    assert (excuse(outcome, story, [fault]) is fault) == excused


def test_a_worker_that_is_lost_without_redis_need_not_have_said_why() -> None:
    kill, away = hit("browser.kill", "a.chromium-00.1", "chromium-00"), hit("redis.freeze")
    outcome = failed("Page.evaluate: Browser closed")
    assert excuse(outcome, OWN, [kill]) is None
    assert excuse(outcome, OWN, [away]) is None
    assert excuse(outcome, OTHER, [kill, away]) is None
    assert excuse(outcome, OWN, [kill, away]) is kill


@pytest.mark.parametrize("behind", ["proxy.freeze", "appliance.cut-off"])
def test_a_worker_that_is_killed_where_nobody_sees_it_is_missed_by_its_heartbeat(behind: str) -> None:
    kill, frozen = hit("appliance.forks", "a.chromium-00.1", "chromium-00"), hit(behind)
    outcome = failed("Page.evaluate: worker chromium-00 stopped answering", appliance="b")
    assert excuse(outcome, OWN, [kill]) is None
    assert excuse(outcome, OWN, [frozen]) is None
    assert excuse(outcome, OTHER, [kill, frozen]) is None
    assert excuse(outcome, OWN, [kill, frozen]) is kill


@pytest.mark.parametrize(
    ("kind", "other", "text"),
    [
        ("browser.kill", "worker.freeze", "Browser closed"),
        ("browser.kill", "appliance.cut-off", "worker chromium-00 crashed"),
        ("worker.pause", "redis.failover", "worker chromium-00 stopped answering"),
    ],
)
def test_a_worker_that_cannot_speak_need_not_have_said_why(kind: str, other: str, text: str) -> None:
    first = hit(kind, "a.chromium-00.1", "chromium-00")
    second = hit(other, *(["a.chromium-00.1", "chromium-00"] if other == "worker.freeze" else []))
    assert excuse(failed(text), OWN, [first]) is None
    assert excuse(failed(text), OTHER, [first, second]) is None
    assert excuse(failed(text), OWN, [first, second]) is first


def test_a_session_whose_worker_is_lost_while_its_first_client_comes_is_told_so() -> None:
    lost = hit("driver.kill", "a.chromium-00.1", "chromium-00")
    outcome = failed("503 | Session 's' is not reached: the driver of worker chromium-00 does not serve: reset.")
    assert excuse(outcome, OTHER, [lost]) is None
    assert excuse(outcome, OWN, [lost]) is lost


def test_the_proxys_log_tells_which_worker_a_named_session_had() -> None:
    lines = [
        "half a li",
        '{"event": "session.started", "name": "s", "session": "1", "worker": "w"}',
        '{"event": "session.ended", "session": "1", "worker": "w", "reason": "closed"}',
    ]
    assert stories(lines) == {"s": Story("1", ["w"], ["closed"])}


def test_a_session_whose_log_was_lost_is_known_by_the_workers_it_was_seen_on(tmp_path: Path) -> None:
    (tmp_path / "proxy.log").write_text('{"event": "session.started", "name": "s", "session": "1", "worker": "w"}\n')
    found = journal.read([tmp_path], {"s": {"v", "w"}, "t": {"x"}})
    assert found == {"s": Story("1", ["w", "v"]), "t": Story("", ["x"])}


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as server:
        server.flushall()
        yield server


def test_a_failover_loses_the_last_writes_and_every_connection(server: redis.Redis, redis_url: str) -> None:
    server.set("kept", "before", px=60_000)
    held, dumps = server.client_id(), server.info("commandstats").get("cmdstat_dump", {}).get("calls", 0)
    with ThreadPoolExecutor() as pool:
        failing_over = pool.submit(redis_faults.strike, "failover", redis_url, 0, 3.0)
        until(lambda: server.info("commandstats").get("cmdstat_dump", {}).get("calls", 0) > dumps, "it has begun")
        server.mset({"kept": "after", "lost": "after"})
        failing_over.result()
    assert (server.get("kept"), server.get("lost")) == ("before", None)
    assert 0 < server.pttl("kept") <= 60_000
    assert server.client_id() != held


def test_an_eviction_takes_some_keys_and_leaves_the_policy_as_it_was(server: redis.Redis, redis_url: str) -> None:
    server.mset({f"{{grid}}:1:session:{number}": "x" * 1000 for number in range(2000)})
    redis_faults.strike("evict", redis_url, 2, 0.1)
    assert 0 < server.dbsize() < 2000
    assert server.config_get("maxmemory*")["maxmemory-policy"] == "noeviction"


def test_one_key_of_each_kind_is_deleted(server: redis.Redis, redis_url: str) -> None:
    for key in ("leases", "worker:a", "worker:b", "worker:a:sessions", "pool:chromium:1.65"):
        server.set(f"{{grid}}:1:{key}", "x")
    redis_faults.strike("delete", redis_url, 1, 0.0)
    assert [key.partition(":1:")[2][:7] for key in server.keys("*")] == ["worker:"]


class Trier:
    """A process that tries to do something whenever it is told to."""

    def __init__(self, attempt: str, inside: Sequence[str] = ()) -> None:
        lines = ["import os, sys", "for line in sys.stdin:", f" try: {attempt}; print('done', flush=True)"]
        code = "\n".join([*lines, " except OSError as error: print(error.errno, flush=True)"])
        command = [*inside, sys.executable, "-c", code]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tries(self) -> str:
        """Let it try; return what came of it."""
        assert self.process.stdin
        assert self.process.stdout
        print(file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()


def test_a_process_without_descriptors_opens_nothing_until_its_fault_is_over() -> None:
    trier = Trier("open(os.devnull).close()")
    with trier.process:
        assert trier.tries() == "done"
        with out_of_descriptors(psutil.Process(trier.process.pid)):
            assert trier.tries() == str(errno.EMFILE)
        assert trier.tries() == "done"
        trier.process.kill()


@pytest.mark.skipif(not IS_ROOT, reason="only root can bound a machine")
def test_a_full_process_group_starts_nothing_and_is_removed_with_all_that_it_holds() -> None:
    group = ProcessGroup(f"test-{os.getpid()}")
    trier = Trier("os.waitpid(os.fork() or os._exit(0), 0)", group.inside)
    with trier.process, ThreadPoolExecutor() as pool:
        assert trier.tries() == "done"
        full = pool.submit(group.stay_full, 4.0)
        until(lambda: group.limit() != "max", "nothing more is let in")
        assert trier.tries() == str(errno.EAGAIN)
        full.result()
        assert trier.tries() == "done"
        assert group.remove() == [trier.process.pid]
