"""Whatever is killed, other sessions go on, the pool is whole again soon, and nothing is left behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest
from playwright.sync_api import Error, sync_playwright

from appliance.machine import browsers
from appliance.names import Browser, Isolation
from appliance.run_dir import RunDir
from appliance.settings import config
from tests.support.appliance import StartGrid, tree
from tests.support.waiting import until
from tests.support.wire import BareClient

# What a stock client raises. If its browser is killed, Playwright's protocol may be first to tell it, by the answer to
# a call that was under way.
WHAT_IS_SAID = {
    "worker": "worker {name} crashed",
    "driver": "the driver of worker {name} ended: signal 9",
    "browser": r"(the browser of worker {name} crashed \(signal 9\)|Target page, context or browser has been closed)",
}


@pytest.mark.parametrize(
    ("victim", "isolation"), [*product(WHAT_IS_SAID, [Isolation.CONTEXT]), ("driver", Isolation.BROWSER)]
)
def test_a_kill_harms_only_its_own_sessions(
    victim: str, isolation: Isolation, start_grid: StartGrid, site: str
) -> None:
    """Each worker has one slot, so two sessions use both."""
    grid = start_grid(CHROMIUM_WORKERS=2, MAX_CONCURRENT_SESSIONS=1, STARTUP_STAGGER=0.1, ISOLATION=isolation)
    with sync_playwright() as playwright:
        browsers = [playwright.chromium.connect(grid.endpoint) for _ in range(2)]
        pages = [browser.new_page() for browser in browsers]
        for page in pages:
            page.goto(site)
        hit, spared = (session.worker for session in grid.state.sessions())
        before = {worker.id: worker for worker in grid.state.workers()}
        family = tree(before[hit].pid)
        family[victim].kill()

        with pytest.raises(Error, match=rf"^(Page\.title: )?{WHAT_IS_SAID[victim].format(name=before[hit].name)}$"):
            until(lambda: pages[0].title() != "A real page", "the killed worker's client is told")
        assert pages[1].title() == "A real page"
        new = grid.successor(before[hit])
        assert {worker.id for worker in grid.available(2)} == {spared, new.id}
        until(lambda: not any(process.is_running() for process in family.values()), "no process is left")
        until(lambda: len(grid.workspaces()) == 2, "no temporary folder is left")
        again = playwright.chromium.connect(grid.endpoint)
        assert again.new_page().title() == ""
        for browser in (browsers[1], again):
            browser.close()


def test_a_worker_whose_browser_was_missing_is_back_within_10_s_of_its_return(
    start_grid: StartGrid, tmp_path: Path
) -> None:
    program = tmp_path / "chromium"
    real = browsers.find(Browser.CHROMIUM, config.load()).path
    program.symlink_to(real)
    grid = start_grid(CHROMIUM_EXECUTABLE=program)
    program.unlink()
    (RunDir(grid.run_dir).workers_of("chromium-00") / "failures").write_text("20")  # as after a minute without it
    tree(grid.available(1)[0].pid)["browser"].kill()
    failures = lambda: grid.log("chromium-00").count("event=worker.failed")  # noqa: E731
    until(lambda: failures() >= 2, "the worker fails again", within_s=60)
    launches = lambda: grid.log("chromium-00").count("event=worker.launching")  # noqa: E731
    before = launches()
    program.symlink_to(real)
    until(lambda: launches() > before, "it is launched", within_s=10)  # how long that takes is the machine's
    grid.available(1)
    with sync_playwright() as playwright:
        playwright.chromium.connect(grid.endpoint).close()


def test_down_removes_what_a_worker_left_that_was_killed_when_nothing_followed_it(start_grid: StartGrid) -> None:
    grid = start_grid(SHUTDOWN_GRACE=60)
    (worker,) = grid.available(1)
    family = tree(worker.pid)
    client = BareClient(grid)
    assert client.answer()[0] == 101
    with ThreadPoolExecutor(1) as threads:
        stopping = threads.submit(grid.down)
        until(lambda: "event=worker.draining" in grid.log(worker.name), "it is told to stop")
        family["worker"].kill()
        assert stopping.result() == [worker.id.partition(".")[2]]
    client.close()
    assert not grid.workspaces()
    assert not [process for process in family.values() if process.is_running()], "processes are left behind"
