"""What a session leaves is its own, and gone when it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright

from tests.support.appliance import Appliance
from tests.support.looks import status_of
from tests.support.waiting import until

# A client that does much and is then killed, or waits to be.
CLIENT = """
import sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    page = playwright.chromium.connect(sys.argv[1]).new_page(record_har_path="/dev/null", record_har_content="attach")
    page.goto(sys.argv[2])
    page.context.tracing.start(snapshots=True)
    page.set_content("<input type=file><p>" + "x" * 2_000_000)
    page.set_input_files("input", sys.argv[3])
    print("ready", flush=True)
    page.wait_for_timeout(60_000)
"""


def files(grid: Appliance) -> list[Path]:
    """Return the files that sessions have left in the workers' folders; some may be removed meanwhile."""
    found = [Path(folder, name) for folder, _, names in os.walk(grid.run_dir / "workers") for name in names]
    return [path for path in found if any(part.startswith("playwright-artifacts-") for part in path.parts)]


def folders(grid: Appliance) -> list[Path]:
    """Return the folders that hold the files of sessions; some may be removed meanwhile."""
    found = [Path(folder, name) for folder, names, _ in os.walk(grid.run_dir / "workers") for name in names]
    return [path for path in found if path.match("playwright-artifacts-*/session-*")]


def nothing_is_left(grid: Appliance) -> None:
    until(lambda: not files(grid) and not folders(grid), "the files of the sessions are gone")


def trace_of(page: Page, file: Path) -> bytes:
    page.context.tracing.stop(path=file)
    return content_of(file)


def content_of(file: Path) -> bytes:
    with zipfile.ZipFile(file) as archive:
        return b"".join(map(archive.read, archive.namelist()))


def start_trace(page: Page, name: str) -> None:
    page.context.tracing.start(name=name, snapshots=True, screenshots=True)


@pytest.fixture
def browser(grid: Appliance, level: str, clients: Playwright) -> Iterator[Browser]:
    browser = clients.chromium.connect(grid.endpoint + level)
    yield browser
    browser.close()


def test_traces_of_one_name_hold_their_own_session_alone(
    grid: Appliance, level: str, clients: Playwright, tmp_path: Path
) -> None:
    browsers = [clients.chromium.connect(grid.endpoint + level) for _ in range(2)]
    pages = [browser.new_page() for browser in browsers]
    for page, secret in zip(pages, ("alpha", "beta"), strict=True):
        start_trace(page, "same")
        page.set_content(f"<p>{secret}-secret")
    for page in pages:
        page.click("p")
    one, other = (trace_of(page, tmp_path / f"{number}.zip") for number, page in enumerate(pages))
    assert (b"alpha-secret" in one, b"beta-secret" in one) == (True, False)
    assert (b"alpha-secret" in other, b"beta-secret" in other) == (False, True)
    for browser in browsers:
        browser.close()
    nothing_is_left(grid)


@pytest.mark.parametrize("name", ["a/b", "../../x", "x" * 300, "ünïcode and blanks", ".hidden"])
def test_a_trace_may_have_any_name(browser: Browser, tmp_path: Path, name: str) -> None:
    page = browser.new_page()
    start_trace(page, name)
    page.set_content("<p>content-of-page")
    assert b"content-of-page" in trace_of(page, tmp_path / "trace.zip")


def test_chunks_of_a_trace_have_their_own_content(browser: Browser, tmp_path: Path) -> None:
    page = browser.new_page()
    page.context.tracing.start(snapshots=True)
    for number in range(2):
        page.context.tracing.start_chunk(name=f"chunk/{number}")
        page.set_content(f"<p>chunk-{number}-here")
        page.context.tracing.stop_chunk(path=tmp_path / f"{number}.zip")
        assert f"chunk-{number}-here".encode() in content_of(tmp_path / f"{number}.zip")


def test_a_har_and_a_download_are_gone_with_their_session(
    grid: Appliance, browser: Browser, site: str, tmp_path: Path
) -> None:
    context = browser.new_context(record_har_path=tmp_path / "har.zip")
    page = context.new_page()
    page.goto(site)
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.failure() is None
    assert files(grid)
    context.close()
    with zipfile.ZipFile(tmp_path / "har.zip") as archive:
        assert json.loads(archive.read("har.har"))["log"]["entries"]
    browser.close()
    nothing_is_left(grid)


def test_nothing_is_left_of_a_client_that_is_killed(
    grid: Appliance, level: str, browser: Browser, site: str, tmp_path: Path
) -> None:
    upload = tmp_path / "upload.bin"
    upload.write_bytes(os.urandom(3 * 2**20))
    neighbour = browser.new_page()
    start_trace(neighbour, "neighbour")
    until(lambda: len(folders(grid)) == 1, "the sessions before it have left nothing")
    (its_own,) = folders(grid)
    arguments = [sys.executable, "-c", CLIENT, grid.endpoint + level, site, str(upload)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, start_new_session=True) as client:
        assert client.stdout
        assert client.stdout.readline() == b"ready\n"
        found = [status for file in files(grid) if (status := status_of(file))]
        assert sum(status.st_size for status in found) > 3 * 2**20
        os.killpg(client.pid, signal.SIGKILL)
    until(lambda: all(its_own in file.parents for file in files(grid)), "the files of the session are gone")
    neighbour.set_content("<p>neighbours-page")
    assert b"neighbours-page" in trace_of(neighbour, tmp_path / "trace.zip")


def test_a_video_outlives_its_context_not_its_session(grid: Appliance, browser: Browser, tmp_path: Path) -> None:
    context = browser.new_context(record_video_dir=tmp_path)
    page = context.new_page()
    page.set_content("<p>filmed")
    # In 1.58 a film begins with its first picture.
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    context.close()
    assert page.video
    page.video.save_as(tmp_path / "video.webm")
    assert (tmp_path / "video.webm").stat().st_size
    assert files(grid)
    browser.close()
    nothing_is_left(grid)


def test_what_a_trace_was_made_of_is_gone_with_its_context(grid: Appliance, browser: Browser, tmp_path: Path) -> None:
    with browser.new_context(record_har_path=tmp_path / "har.zip") as context:
        page = context.new_page()
        start_trace(page, "one")
        page.set_content("<p>" + "x" * 10**6)
        trace_of(page, tmp_path / "trace.zip")
    until(lambda: not files(grid), "the files of the context are gone")
    assert folders(grid)
