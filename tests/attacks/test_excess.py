"""A session that takes all the memory or the disk there is, ends with that reason, and the worker starts anew.

What is too large for the driver or the browser is refused to its session alone.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress

import pytest
from playwright.sync_api import Error, Page, Playwright, Route

from tests.support.appliance import Appliance
from tests.support.frames import CLOSE, read_frame
from tests.support.raw_client import RawClient
from tests.support.waiting import until
from tests.support.wire import Wire
from tests.support.zeros import ENCODINGS

RUN_AWAY = "setInterval(() => (window.all ??= []).push(new Uint8Array(64 * 2 ** 20).fill(1)), 20)"
BOUNDS = {
    "WORKER_MAX_MEMORY": "600MiB",
    "WORKER_HARD_MEMORY": "800MiB",
    "WORKER_MAX_DISK": "20MiB",
    "WORKER_HARD_DISK": "80MiB",  # 6 s of the endless file later
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
    read_until_it_ends(page, "worker chromium-00 used more than 80 MiB of disk")
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


def test_an_answer_that_is_too_large_is_refused_while_it_comes_however_it_is_packed(
    grid: Appliance, site: str, neighbour: Page
) -> None:
    with RawClient(grid) as client:
        client.context()
        requests = client.guid("APIRequestContext")
        for encoding in ENCODINGS:
            url = f"{site}zeros/{encoding}/256"
            told = client.call(requests, "fetch", url=url, timeout=60_000)
            assert told["error"].startswith(
                f"The answer of {url} is larger than 190 MiB, more than this grid passes on."
            )
        for encoding in set(ENCODINGS) - {"br"}:
            fetched = client.call(requests, "fetch", url=f"{site}zeros/{encoding}/2")["response"]
            body = client.call(requests, "fetchResponseBody", fetchUid=fetched["fetchUid"])["binary"]
            assert b64decode(body) == bytes(2 << 20)
    assert neighbour.evaluate("6 * 7") == 42


def test_a_route_is_fulfilled_with_no_more_than_the_browser_takes(
    grid: Appliance, site: str, clients: Playwright, neighbour: Page
) -> None:
    page = clients.chromium.connect(grid.endpoint).new_page()
    told = []

    def fulfill(route: Route) -> None:
        with pytest.raises(Error) as refused:
            route.fulfill(response=route.fetch(url=f"{site}zeros/gzip/75"))
        told.append(refused.value.message)
        route.fulfill(response=route.fetch(url=f"{site}zeros/gzip/74"))

    page.route("**/large", fulfill)
    fetched = "url => fetch(url).then(got => got.arrayBuffer()).then(body => body.byteLength)"
    assert page.evaluate(fetched, f"{site}large") == 74 << 20
    (refusal,) = told
    assert "at most 74 MiB on this grid: Chromium takes no message of more than 100 MiB" in refusal
    assert neighbour.evaluate("6 * 7") == 42
    page.context.browser.close()  # type: ignore[union-attr]


def test_a_message_that_would_end_the_browser_is_refused_to_its_session_alone(grid: Appliance, neighbour: Page) -> None:
    quotes = '"' * 27_000_000  # each of two bytes for the driver, and of four for the browser, in a script
    with RawClient(grid) as client:
        client.call(client.context(), "newPage")
        told = client.call(client.guid("Page"), "exposeBinding", name=quotes)
        assert "a message to the browser of more than 100 MiB" in told["error"]
    assert neighbour.evaluate("6 * 7") == 42
