"""A worker knows its descendants, and fetches the exit status of those that it has adopted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import until
from workers import family
from workers.family import Family

ADOPT = """
import subprocess, time
from appliance.machine import kernel
from workers.family import fetch_exit_status
kernel.adopt_orphans()
own = subprocess.Popen(["sh", "-c", "true & true & exit 3"])
fetched, deadline = 0, time.monotonic() + 10
while fetched < 2 and time.monotonic() < deadline:
    fetched += fetch_exit_status(of_all_but={own.pid})
print(fetched, own.wait(), fetch_exit_status())
"""


def test_orphans_are_fetched_and_a_child_that_is_waited_for_keeps_its_exit_code() -> None:
    done = subprocess.run([sys.executable, "-c", ADOPT], capture_output=True, text=True, check=True)
    assert done.stdout == "2 3 0\n"


def test_the_family_is_found_whole_and_a_hasty_look_finds_what_main_threads_forked() -> None:
    looker = Family()
    before = set(looker.members())
    child = subprocess.Popen(["sh", "-c", "sleep 60 & wait"])
    try:
        until(lambda: len(psutil.Process(child.pid).children()) == 1, "the grandchild runs")
        expected = {os.getpid(), *(one.pid for one in psutil.Process().children(recursive=True))}
        assert set(looker.members()) == expected
        assert set(looker.members(hasty=True)) == expected
        assert expected > before
    finally:
        for one in psutil.Process(child.pid).children():
            one.kill()
        child.wait()


@pytest.mark.skipif(not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="the kernel lists no children")
def test_no_process_outside_the_family_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    child = subprocess.Popen(["sleep", "60"])
    read: set[str] = set()
    real = family._read

    def noting(path: str) -> bytes:
        read.add(path.split("/")[2])
        return real(path)

    monkeypatch.setattr(family, "_read", noting)
    try:
        assert Family(child.pid).memory_bytes() > 0
    finally:
        child.kill()
        child.wait()
    assert read == {str(child.pid)}
