"""The fixtures of the tests with a full Chromium."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.support.fixtures import site, start_grid

__all__ = ["site", "start_grid"]


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """Run a virtual display, whose server chooses the number."""
    command = ["Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "1280x800x24"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout
        yield f":{server.stdout.readline().strip()}"
        server.terminate()
