"""Stock clients, each in a process of its own, use a session for all that sessions are for."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.appliance import Appliance
from tests.support.site import large_file
from tests.support.waiting import until

CLIENTS = Path(__file__).parent / "clients"


def use(command: list[str], grid: Appliance, site: str, folder: Path) -> None:
    """Run a client and check what it saw."""
    done = subprocess.run(
        [*command, grid.endpoint, site, folder], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    digest = hashlib.sha256(large_file()).hexdigest()
    assert json.loads(done.stdout) == {"title": "A real page", "downloaded": digest, "uploaded": digest}
    assert (folder / "page.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["sync_client.py", "async_client.py"])
def test_a_python_client_works(name: str, grid: Appliance, site: str, tmp_path: Path) -> None:
    use([sys.executable, str(CLIENTS / name)], grid, site, tmp_path)


@pytest.mark.usefixtures("node_modules")
def test_a_node_client_works(grid: Appliance, site: str, tmp_path: Path) -> None:
    use(["node", str(CLIENTS / "client.mjs")], grid, site, tmp_path)


def run_command(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Run a command as a user does; return what it prints."""
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_suite_of_playwright_test_runs_with_traces_and_videos(
    node_modules: Path, grid: Appliance, site: str, tmp_path: Path
) -> None:
    runner = ["node", str(node_modules / "@playwright" / "test" / "cli.js"), "test"]
    environment = {"ENDPOINT": grid.endpoint, "SITE": site, "OUTPUT": str(tmp_path)}
    assert "2 passed" in run_command(runner, CLIENTS / "playwright_test", environment)
    for name in ("trace.zip", "video.webm", "test-finished-1.png"):
        assert len([file for file in tmp_path.rglob(name) if file.stat().st_size]) == 2, name


def test_a_suite_of_pytest_playwright_runs(grid: Appliance, site: str, tmp_path: Path) -> None:
    folder = shutil.copytree(CLIENTS / "pytest_playwright", tmp_path / "suite")
    command = [sys.executable, "-m", "pytest", "--tracing=on", f"--output={tmp_path}/results", "shop.py"]
    assert "1 passed" in run_command(command, folder, {"ENDPOINT": grid.endpoint, "SITE": site})
    assert list(tmp_path.rglob("trace.zip"))


def names(grid: Appliance) -> list[str]:
    return [session.name for session in grid.state.sessions()]


def test_an_mcp_server_opens_a_page_of_the_grid(node_modules: Path, grid: Appliance, site: str, tmp_path: Path) -> None:
    command = ["node", str(node_modules / "playwright" / "cli.js"), "mcp", "--endpoint", f"{grid.endpoint}/?name=mcp"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout

        def ask(method: str, **params: Any) -> dict[str, Any]:
            print(
                json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}),
                file=server.stdin,
                flush=True,
            )
            lines = map(json.loads, server.stdout or ())  # notifications may come before the answer
            return next(dict(line["result"]) for line in lines if "result" in line)

        ask("initialize", protocolVersion="2025-03-26", capabilities={}, clientInfo={"name": "test", "version": "1"})
        shown = ask("tools/call", name="browser_navigate", arguments={"url": site})
        assert "Page Title: A real page" in shown["content"][0]["text"]
        until(lambda: names(grid) == ["mcp"], "those before it are over, and it has its own session")


def test_the_command_line_client_attaches_to_the_grid(
    node_modules: Path, grid: Appliance, site: str, tmp_path: Path
) -> None:
    cli, own = ["node", str(node_modules / "playwright" / "cli.js"), "cli"], {"XDG_CACHE_HOME": str(tmp_path)}
    try:
        run_command([*cli, "attach", "--endpoint", f"{grid.endpoint}/?name=cli"], tmp_path, own)
        run_command([*cli, "goto", site], tmp_path, own)
        assert "A real page" in run_command([*cli, "eval", "document.title"], tmp_path, own)
        until(lambda: names(grid) == ["cli"], "those before it are over, and it has its own session")
    finally:
        run_command([*cli, "detach"], tmp_path, own)
    until(lambda: not grid.state.sessions(), "the session has ended")
