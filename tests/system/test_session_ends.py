"""A session that ends for a reason of the grid's: its client reads the reason, and its slot is free."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Playwright, sync_playwright

from tests.support.appliance import Appliance, StartGrid, tree
from tests.support.pages import said_to
from tests.support.waiting import until
from tests.support.wire import BareClient, Wire


@pytest.fixture
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


def open_page(playwright: Playwright, grid: Appliance, query: str = "") -> Page:
    return playwright.chromium.connect(grid.endpoint + query).new_page()


def test_an_operator_lists_the_sessions_and_ends_one_of_them(grid: Appliance, playwright: Playwright) -> None:
    pages = {name: open_page(playwright, grid, f"?name={name}") for name in ("doomed", "spared")}
    (before,) = grid.available(1)
    listed = {each["name"]: each for each in json.loads(grid.applctl("sessions", "list", "--json").stdout)}
    assert listed.keys() == pages.keys()
    told = grid.applctl("sessions", "kill", listed["doomed"]["id"][:8], "--json")
    assert json.loads(told.stdout) == [{"session": listed["doomed"]["id"]}]
    assert said_to(pages["doomed"]) == "session closed by operator"
    assert pages["spared"].evaluate("1") == 1
    until(lambda: [each.name for each in grid.state.sessions()] == ["spared"], "the slot is free")
    assert "no session" in grid.applctl("sessions", "kill", listed["doomed"]["id"], check=False).stderr
    assert {listed["spared"]["id"], "active", "spared"} <= {*grid.applctl("sessions", "list").stdout.split()}
    assert [worker.id for worker in grid.available(1)] == [before.id], "its driver took no harm"


def test_waiting_sessions_are_killed_with_the_others(start_grid: StartGrid) -> None:
    grid = start_grid(MAX_CONCURRENT_SESSIONS=1)
    active = BareClient(grid)
    assert active.answer()[0] == 101
    waiting = BareClient(grid)
    until(lambda: len(grid.state.sessions()) == 2, "the second waits")
    grid.applctl("sessions", "kill", "--all")
    assert waiting.answer() == (503, "session closed by operator")
    until(lambda: not grid.state.sessions(), "both are over")
    for client in (active, waiting):
        client.close()


def test_sessions_end_at_their_limits_and_pings_are_no_use_of_them(
    start_grid: StartGrid, playwright: Playwright
) -> None:
    grid = start_grid(SESSION_TIMEOUT=6, SESSION_IDLE_TIMEOUT=3, PING_INTERVAL=0.5)
    started = time.monotonic()
    idle, busy = (open_page(playwright, grid, f"?name={name}") for name in ("idle", "busy"))
    assert said_to(busy) == "session limit of 6 s reached"
    assert time.monotonic() - started >= 6
    assert said_to(idle) == "session was idle for 3 s"
    until(lambda: not grid.state.sessions(), "both slots are free")


def test_a_session_ends_after_the_time_that_its_url_sets(grid: Appliance) -> None:
    with Wire(grid.port) as client:
        client.send_upgrade("/?timeout=1&name=brief")
        assert b"session limit of 1 s reached, as its URL says" in client.read_all()
    until(lambda: not grid.state.sessions(), "its slot is free")
    (past,) = [story for story in grid.state.history() if story.name == "brief"]
    assert (past.ended_by, (past.duration_ms or 0) >= 1000) == ("limit", True)


def test_a_proxy_that_is_told_to_stop_lets_sessions_finish_and_then_says_why(
    start_grid: StartGrid, playwright: Playwright
) -> None:
    grid = start_grid(SHUTDOWN_GRACE=6)
    quick, slow = open_page(playwright, grid), open_page(playwright, grid)
    grid.process("proxy").terminate()
    until(lambda: "event=proxy.stopping" in grid.log("proxy"), "the proxy stops")
    quick.context.browser.close()
    assert said_to(slow) == "appliance is shutting down"

    def ends() -> list[str]:
        return [line for line in grid.log("proxy").splitlines() if "event=session.ended" in line]

    until(lambda: len(ends()) == 2, "both ends are logged")
    assert [line.count("appliance is shutting down") for line in ends()] == [0, 1]


def test_the_history_tells_how_sessions_ended_and_who_ended_them(start_grid: StartGrid, playwright: Playwright) -> None:
    grid = start_grid(LEASE_RENEW_INTERVAL=0.3)
    names = ("closed", "killed", "crashed")
    pages = {name: open_page(playwright, grid, f"?name={name}&label.build=4711") for name in names}
    until(lambda: all(one.bytes_to_client for one in grid.state.stories()), "their traffic is reported while they run")
    pages["closed"].context.browser.close()
    grid.applctl("sessions", "kill", "--name", "kil*", "--label", "build=4711")
    assert said_to(pages["killed"]) == "session closed by operator"
    (worker,) = grid.available(1)
    tree(worker.pid)["driver"].kill()
    reason = said_to(pages["crashed"])
    until(lambda: len(grid.state.history()) == 3 and not grid.state.sessions(), "all have ended")
    past = {one["name"]: one for one in json.loads(grid.applctl("sessions", "history", "--json").stdout)}
    ends = {name: (one["ended_by"], one["end_reason"]) for name, one in past.items()}
    assert ends == {
        "closed": ("client", "closed"),
        "killed": ("operator", "session closed by operator"),
        "crashed": ("driver", reason),
    }
    for one in past.values():
        assert one["labels"] == {"build": "4711"}
        assert one["bytes_to_client"] > one["bytes_from_client"] > 200
        assert one["messages_to_client"] > one["messages_from_client"] > 1
    crashed = past["crashed"]["id"]
    assert f"Its driver ended it: {reason}." in grid.applctl("sessions", "why", crashed[:8]).stdout
    assert "build=4711" in grid.applctl("sessions", "show", crashed[:8]).stdout
    assert grid.applctl("sessions", "history", "--label", "build=4712").stdout == "There are no such sessions.\n"
