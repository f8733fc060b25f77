"""A short fuzz run; `make fuzz` is the long one."""

from __future__ import annotations

import subprocess
import sys

SECONDS = 12


def test_nothing_of_a_few_thousand_hostile_clients_and_workers_stays_in_the_proxy() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--count", "3000", "--seconds", str(SECONDS), "--silence", "0.5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
