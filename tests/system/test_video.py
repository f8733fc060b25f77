"""Videos of sessions: recorded by the worker's ffmpeg, wherever the browser came from, and fetched by the client."""

from __future__ import annotations

import subprocess
from pathlib import Path

from playwright.sync_api import sync_playwright

from appliance.run_dir import RunDir
from tests.support.appliance import Appliance, StartGrid
from tests.support.films import assert_plays
from tests.support.looks import paths_in
from tests.support.waiting import until

PAGE = "<title>film</title><style>div{animation:a 1s infinite;width:90px}@keyframes a{to{width:400px}}</style><div>x"
# Until the page has been painted so many times, which takes a busy machine longer.
PAINTED = """new Promise(done => {
  let left = 60;
  const paint = () => left-- ? requestAnimationFrame(paint) : done();
  paint();
})"""
CLIENT = """
import sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    context = playwright.chromium.connect(sys.argv[1]).new_context(record_video_dir=sys.argv[2])
    page = context.new_page()
    page.set_content(sys.argv[3])
    page.evaluate(sys.argv[4])
    context.close()
    page.video.save_as(sys.argv[2] + "/film.webm")
"""


def test_a_context_records_its_pages(grid: Appliance, tmp_path: Path) -> None:
    with sync_playwright() as playwright:
        context = playwright.chromium.connect(grid.endpoint).new_context(record_video_dir=tmp_path)
        page = context.new_page()
        page.set_content(PAGE)
        page.evaluate(PAINTED)
        context.close()
        assert page.video
        page.video.save_as(tmp_path / "film.webm")
    assert_plays(tmp_path / "film.webm")
    assert "no_video" not in grid.log("chromium-00")


def test_a_page_records_a_screencast(grid: Appliance, tmp_path: Path) -> None:
    with sync_playwright() as playwright:
        page = playwright.chromium.connect(grid.endpoint).new_page()
        page.set_content(PAGE)
        page.screencast.start(path=tmp_path / "cast.webm")
        page.evaluate(PAINTED)
        page.screencast.stop()
    assert_plays(tmp_path / "cast.webm")


def test_a_driver_of_another_version_finds_ffmpeg_under_its_own_revision(
    start_grid: StartGrid, older_playwright: Path, tmp_path: Path
) -> None:
    (driver,) = older_playwright.glob("lib/python3*/site-packages/playwright/driver")
    grid = start_grid(PLAYWRIGHT_DRIVER=driver)
    command = [older_playwright / "bin/python", "-c", CLIENT, grid.endpoint, tmp_path, PAGE, PAINTED]
    subprocess.run(command, check=True, timeout=120)
    assert_plays(tmp_path / "film.webm")


def programs(grid: Appliance) -> list[Path]:
    """Return each ffmpeg that is linked into a worker's folder."""
    return [path for path in paths_in(RunDir(grid.run_dir).workers) if path.match("programs/*/ffmpeg-linux")]


def test_playwrights_own_download_of_ffmpeg_is_used_as_it_is(start_grid: StartGrid, tmp_path: Path) -> None:
    grid = start_grid(PLAYWRIGHT_BROWSERS_PATH=tmp_path)  # there is none yet: the system's is linked
    (shown,) = programs(grid)
    mine = tmp_path / shown.parent.name / "ffmpeg-linux"
    mine.parent.mkdir()
    mine.write_text(f'#!/bin/sh\ntouch {tmp_path}/used\nexec ffmpeg "$@"\n')
    mine.chmod(0o755)
    (worker,) = grid.available(1)
    grid.applctl("restart", "chromium-00")
    grid.successor(worker)
    assert not programs(grid)
    with sync_playwright() as playwright:
        page = playwright.chromium.connect(grid.endpoint).new_page(record_video_dir=tmp_path)
        page.close()
    until((tmp_path / "used").exists, "it was used")
    assert sorted(path.name for path in mine.parent.iterdir()) == ["ffmpeg-linux"]
