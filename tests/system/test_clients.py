"""Stock clients, each in a process of its own, use a session for all that sessions are for."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.grid import Grid
from tests.system.site import large_file

CLIENTS = Path(__file__).parent / "clients"


@pytest.fixture(scope="module")
def node_client() -> list[str]:
    """Install playwright-core from npm, and give the command of the Node.js client."""
    if not (CLIENTS / "node_modules" / "playwright-core").is_dir():
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"], cwd=CLIENTS, check=True)
    return ["node", str(CLIENTS / "client.mjs")]


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


def test_a_node_client_works(node_client: list[str], grid: Grid, site: str, tmp_path: Path) -> None:
    use(node_client, grid, site, tmp_path)
