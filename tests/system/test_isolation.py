"""Sessions that share a browser share nothing else."""

from __future__ import annotations

from playwright.sync_api import sync_playwright

from tests.support.appliance import Appliance, tree
from tests.support.looks import command_of
from tests.support.waiting import until

READ = "[document.cookie, localStorage.getItem('secret')]"


def renderers(grid: Appliance) -> set[int]:
    """Return the processes that render pages, of which no two contexts share one."""
    processes = tree(grid.state.workers()[0].pid).values()
    return {process.pid for process in processes if "--type=renderer" in " ".join(command_of(process))}


def test_two_clients_of_one_worker_see_nothing_of_each_other(grid: Appliance, site: str) -> None:
    with sync_playwright() as playwright:
        one, other = (playwright.chromium.connect(grid.endpoint) for _ in range(2))
        page, unrelated = one.new_page(), other.new_page()
        page.goto(site)
        page.evaluate("document.cookie = 'secret=1'; localStorage.setItem('secret', '1')")
        unrelated.goto(site)
        assert page.evaluate(READ) == ["secret=1", "1"]
        assert unrelated.evaluate(READ) == ["", None]
        assert (len(one.contexts), len(other.contexts)) == (1, 1)
        assert {session.worker for session in grid.state.sessions()} == {grid.state.workers()[0].id}
        one.close()
        other.close()


def test_contexts_are_gone_when_their_client_is(grid: Appliance, site: str) -> None:
    with sync_playwright() as playwright:
        stayer = playwright.chromium.connect(grid.endpoint)
        stayer.new_page().goto(site)
        before = renderers(grid)
        leaver = playwright.chromium.connect(grid.endpoint)
        for _ in range(2):
            leaver.new_context().new_page().goto(site)
        left = renderers(grid) - before
        assert len(left) >= 2
        leaver.close()
        until(lambda: not renderers(grid) & left, "the contexts are closed")
        stayer.close()
    until(lambda: not grid.state.sessions(), "the slots are free")
