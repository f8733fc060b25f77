"""Stock clients, each in a process of its own, use a session for all that sessions are for."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.grid import Grid
from tests.system.site import large_file

CLIENTS = Path(__file__).parent / "clients"


@pytest.fixture(scope="module")
def node_modules() -> Path:
    """Install the clients of npm; return their folder."""
    folder = CLIENTS / "node_modules"
    if not (folder / "@playwright" / "test").is_dir():
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"], cwd=CLIENTS, check=True)
    return folder


def use(command: list[str], grid: Grid, site: str, folder: Path) -> None:
    """Run a client and check what it saw."""
    done = subprocess.run(
        [*command, grid.endpoint, site, folder], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    digest = hashlib.sha256(large_file()).hexdigest()
    assert json.loads(done.stdout) == {"title": "A real page", "downloaded": digest, "uploaded": digest}
    assert (folder / "page.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["sync_client.py", "async_client.py"])
def test_a_python_client_works(name: str, grid: Grid, site: str, tmp_path: Path) -> None:
    use([sys.executable, str(CLIENTS / name)], grid, site, tmp_path)


@pytest.mark.usefixtures("node_modules")
def test_a_node_client_works(grid: Grid, site: str, tmp_path: Path) -> None:
    use(["node", str(CLIENTS / "client.mjs")], grid, site, tmp_path)


def run_suite(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Run the test suite of a user; return what it prints."""
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_suite_of_playwright_test_runs_with_traces_and_videos(
    node_modules: Path, grid: Grid, site: str, tmp_path: Path
) -> None:
    runner = ["node", str(node_modules / "@playwright" / "test" / "cli.js"), "test"]
    environment = {"ENDPOINT": grid.endpoint, "SITE": site, "OUTPUT": str(tmp_path)}
    assert "2 passed" in run_suite(runner, CLIENTS / "playwright_test", environment)
    for name in ("trace.zip", "video.webm", "test-finished-1.png"):
        assert len([file for file in tmp_path.rglob(name) if file.stat().st_size]) == 2, name


def test_a_suite_of_pytest_playwright_runs(grid: Grid, site: str, tmp_path: Path) -> None:
    folder = shutil.copytree(CLIENTS / "pytest_playwright", tmp_path / "suite")
    command = [sys.executable, "-m", "pytest", "--tracing=on", f"--output={tmp_path}/results", "shop.py"]
    assert "1 passed" in run_suite(command, folder, {"ENDPOINT": grid.endpoint, "SITE": site})
    assert list(tmp_path.rglob("trace.zip"))
