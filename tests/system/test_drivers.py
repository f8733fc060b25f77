"""Clients of several Playwright versions use one endpoint, and each is served by a driver of its own version."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from appliance.grid.records import SessionInfo, WorkerInfo
from appliance.names import minor_version
from tests.support.appliance import Appliance
from tests.support.raw_client import RawClient
from tests.support.versions import OTHER_MINORS, OWN_MINOR
from tests.support.waiting import until
from tests.support.wire import Wire

MINORS = [*OTHER_MINORS, OWN_MINOR]
POOLS = ",".join(f"chromium@{minor}:1" for minor in OTHER_MINORS)
QUOTA, SESSIONS = 3, 7  # each pool's worker is recycled twice
CLIENT = Path(__file__).parent / "clients" / "sessions.mjs"
PYTHON = """
import sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    page = playwright.chromium.connect(sys.argv[1]).new_page()
    page.goto(sys.argv[2])
    print(page.title())
"""
AS_A_FILE = {"options": [], "localPaths": ["/etc/passwd"], "selector": "input"}


@pytest.fixture(scope="module")
def grid(drivers_dir: Path) -> Iterator[Appliance]:
    """Return an appliance with one worker for each version, which is recycled after a few sessions."""
    with Appliance(POOLS=POOLS, DRIVERS_DIR=drivers_dir, MAX_LIFETIME_SESSIONS=QUOTA) as grid:
        yield grid


def minor_by_worker(grid: Appliance) -> dict[str, str]:
    return {worker.id: minor_version(worker.version) for worker in grid.state.workers()}


def test_clients_of_all_versions_are_served_at_one_endpoint_each_by_its_own(
    grid: Appliance, site: str, node_modules: Path
) -> None:
    assert node_modules.is_dir()
    first = {worker.name: worker.id for worker in grid.available(len(MINORS))}
    with ExitStack() as held:
        clients = [held.enter_context(client_of(minor, grid, site)) for minor in MINORS]
        for client in clients:
            assert client.stdout
            assert client.stdout.readline() == "done\n"
        served_by = {session.minor: served(session, grid.state.workers()) for session in grid.state.sessions()}
        assert served_by == {minor: minor for minor in MINORS}
        for client in clients:
            assert client.stdin
            client.stdin.close()
            assert client.wait(60) == 0
    now = {worker.name: worker.id for worker in grid.available(len(MINORS))}
    assert now.keys() == first.keys()
    assert not set(now.values()) & set(first.values()), "each worker was recycled meanwhile"


def client_of(minor: str, grid: Appliance, site: str) -> subprocess.Popen[str]:
    command = ["node", str(CLIENT), minor, grid.endpoint, site, str(SESSIONS)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def served(session: SessionInfo, workers: list[WorkerInfo]) -> str:
    return next(minor_version(worker.version) for worker in workers if worker.id == session.worker)


def test_a_python_client_of_an_older_version_is_served(grid: Appliance, site: str, older_playwright: Path) -> None:
    command = [older_playwright / "bin/python", "-c", PYTHON, grid.endpoint, site]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "A real page\n", done.stderr


def test_a_version_that_is_not_served_is_told_which_are(grid: Appliance) -> None:
    with Wire(grid.port) as wire:
        refused = wire.upgrade(User_Agent="Playwright/1.57.0 (x64; test) node/20.1")
    assert refused.status == 428
    assert refused.error["message"].endswith(f"Served: {', '.join(reversed(MINORS))}.")


@pytest.mark.parametrize("query", ["", "/?isolation=browser"], ids=["shared", "own"])
@pytest.mark.parametrize("minor", MINORS)
def test_the_driver_of_each_version_is_confined(minor: str, query: str, grid: Appliance, site: str) -> None:
    until(lambda: minor in minor_by_worker(grid).values(), "its worker is there")
    with RawClient(grid, query, f"{minor}.0") as client:
        context = client.context()
        client.call(context, "newPage")
        frame, browser = client.guid("Frame"), client.guid("Browser")
        refused = {
            "does not open file: addresses": client.call(frame, "goto", url="file:///etc/passwd"),
            "read from the grid's machine": client.call(frame, "setInputFiles", **AS_A_FILE),
            "does not allow browser.bind()": client.call(browser, "startServer", title="x"),
            "This grid launches its browsers itself": client.call(client.guid("BrowserType"), "launch"),
            "does not know": client.call(client.guid("Page"), "constructor"),
            "larger than 190 MiB": client.call(client.guid("APIRequestContext"), "fetch", url=f"{site}zeros/gzip/256"),
        }
        for sentence, answer in refused.items():
            assert sentence in answer.get("error", ""), sentence
        of_the_browser = client.call(browser, "newBrowserCDPSession")
        assert ("session" in of_the_browser) == bool(query)
        assert client.call(frame, "goto", url="data:text/html,<title>x</title>") is not None
        assert client.call(frame, "title") == {"value": "x"}


def test_the_commands_tell_which_driver_serves_whom(grid: Appliance) -> None:
    listed = json.loads(grid.applctl("drivers", "list", "--json").stdout)
    assert [one["minor"] for one in listed] == [OWN_MINOR, *reversed(OTHER_MINORS)]
    assert all(one["pools"] for one in listed)
    refused = grid.applctl("drivers", "remove", OTHER_MINORS[0], check=False)
    assert f"is used by the pool chromium@{OTHER_MINORS[0]}:1" in refused.stderr
    checks = json.loads(grid.applctl("doctor", "--json", check=False).stdout)
    assert [one["status"] for one in checks if one["name"] == "pools"] == ["ok"] * len(OTHER_MINORS)
    table = grid.applctl("workers", "list").stdout
    assert all(f" {minor} " in table for minor in MINORS)
