"""An appliance whose kernel gives Chromium no sandbox: it says so, and is not started for others than this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.support import restricted
from tests.support.appliance import Appliance
from tests.support.machine import mounts
from tests.support.waiting import until

NOBODY = 65534
RESTRICTED = Path(restricted.__file__)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can restrict what another account may")


@pytest.fixture
def inside() -> Iterator[list[str]]:
    """Provide the beginning of a command that another account runs, where the kernel gives no user namespaces."""
    prepare = ["set -e", "mount --make-rprivate /", *mounts(), f"exec {sys.executable} {RESTRICTED} 0 cat"]
    command = ["unshare", "--mount", "sh", "-c", "; ".join(prepare)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin
        assert holder.stdout
        holder.stdin.write("ready\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "ready\n"
        account = [f"--setuid={NOBODY}", f"--setgid={NOBODY}"]
        yield ["nsenter", f"--target={holder.pid}", "--mount", "--user", *account]
        holder.kill()


def test_a_grid_on_loopback_goes_without_and_says_so_and_one_for_others_is_refused(inside: list[str]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="grid-"))
    os.chown(folder, NOBODY, NOBODY)
    grid = Appliance(folder, inside=inside, CHROMIUM_SANDBOX="auto")
    try:
        said = "the kernel gives no user namespaces (user.max_user_namespaces=0)"
        until(lambda: said in grid.log("chromium-00"), "it is logged")
        with sync_playwright() as playwright:
            assert playwright.chromium.connect(grid.endpoint).new_page().evaluate("1 + 1") == 2
        said = " ".join(grid.applctl("doctor", check=False).stdout.split())
        assert "warning sandbox Chromium runs without its sandbox" in said
        assert "As root: sysctl -w user.max_user_namespaces=65536" in said
        grid.env |= {"HOST": "0.0.0.0", "ALLOW_ANONYMOUS": "true"}
        refused = grid.applctl("restart", check=False)
        assert "Chromium would run without its sandbox, and HOST is not loopback" in refused.stderr
        assert grid.available(1), "what ran goes on"
        grid.down()
        refused = grid.applctl("up", "--no-setup", "--no-demo", check=False)
        assert "CHROMIUM_SANDBOX=false goes without" in refused.stderr
        grid.env["CHROMIUM_SANDBOX"] = "false"
        assert "can be used" in grid.applctl("config", "check").stdout
    finally:
        grid.applctl("down", check=False)
        grid.state.store.close()
        shutil.rmtree(folder)
