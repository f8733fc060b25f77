"""A proxy one of whose loops ends by a fault of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.appliance import free_port

FAULTY = """
import sys
from proxy.__main__ import main
from proxy.probing import Prober
Prober.run = lambda self: 1 / 0
sys.exit(main())
"""


def test_a_proxy_whose_loop_fails_ends_with_1_and_says_so(redis_url: str, tmp_path: Path) -> None:
    settings = {
        "APPLIANCE_ENV": str(tmp_path / "none"),
        "REDIS_URL": redis_url,
        "RUN_DIR": str(tmp_path),
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
    }
    done = subprocess.run(
        [sys.executable, "-c", FAULTY],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, "proxy.loop_ended" in done.stdout) == (1, True), done.stdout + done.stderr
