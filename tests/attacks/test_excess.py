"""A session that takes all the memory or the disk there is, ends with that reason, and the worker starts anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

import pytest
from playwright.sync_api import Error, Page, Playwright

from tests.support.appliance import Appliance
from tests.support.frames import CLOSE, read_frame
from tests.support.waiting import until
from tests.support.wire import Wire

RUN_AWAY = "setInterval(() => (window.all ??= []).push(new Uint8Array(64 * 2 ** 20).fill(1)), 20)"
BOUNDS = {
    "WORKER_MAX_MEMORY": "600MiB",
    "WORKER_HARD_MEMORY": "800MiB",
    "WORKER_MAX_DISK": "20MiB",
    "WORKER_HARD_DISK": "120MiB",  # 10 s of the endless file later
}
TOO_LARGE = bytes([0x81, 0xFF]) + (101 * 2**20).to_bytes(8, "big") + bytes(4)  # the head of a frame


@pytest.fixture(scope="module")
def bounded() -> Iterator[Appliance]:
    """Provide an appliance whose worker may take little."""
    with Appliance(STARTUP_STAGGER=0, **BOUNDS) as grid:
        yield grid


def drains(grid: Appliance) -> list[str]:
    """Return why workers were drained."""
    return [event["reason"] for event in grid.state.events() if event["event"] == "worker.draining"]


def read_until_it_ends(page: Page, reason: str) -> None:
    """Use a page until its session has ended, for this reason."""
    with pytest.raises(Error, match=f"{reason}$"):
        until(lambda: page.title() == "never", "its session ends", within_s=60)


def test_a_page_that_runs_away_with_the_memory_ends_with_that_reason(bounded: Appliance, clients: Playwright) -> None:
    page = clients.chromium.connect(bounded.endpoint).new_page()
    page.evaluate(RUN_AWAY)
    read_until_it_ends(page, "worker chromium-00 used more than 800 MiB of memory")
    reasons = [event["reason"] for event in bounded.state.events() if event["event"] == "worker.ended"]
    assert reasons == ["worker chromium-00 used more than 800 MiB of memory"]
    bounded.available(1, within_s=60)


def test_a_download_without_an_end_drains_its_worker_and_then_ends_with_that_reason(
    bounded: Appliance, clients: Playwright, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(bounded.env, "COLUMNS", "200")
    bounded.available(1, within_s=60)
    page = clients.chromium.connect(bounded.endpoint).new_page()
    with suppress(Error):  # "Download is starting"
        page.goto(f"{site}endless.bin")
    grown = r"grew to \d+ MiB of disk, past WORKER_MAX_DISK"
    until(lambda: any(re.fullmatch(grown, reason) for reason in drains(bounded)), "the worker drains")
    assert re.search(f"chromium-00 +draining .*{grown}", bounded.applctl("status", check=False).stdout)
    read_until_it_ends(page, "worker chromium-00 used more than 120 MiB of disk")
    bounded.available(1, within_s=60)
    until(lambda: len(bounded.workspaces()) == 1, "the download is gone")


def test_a_message_that_is_too_large_is_told_to_its_own_session_alone(grid: Appliance, clients: Playwright) -> None:
    neighbour = clients.chromium.connect(grid.endpoint).new_page()
    with Wire(grid.port) as client:
        assert client.upgrade().status == 101
        client.socket.sendall(TOO_LARGE)
        told = read_frame(client.socket)
    assert told
    assert (told.opcode, told.code) == (CLOSE, 1009)
    assert told.reason == "a message was larger than the 100 MiB that a driver takes"
    assert neighbour.evaluate("6 * 7") == 42
