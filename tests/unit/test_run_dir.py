"""RUN_DIR where root starts the appliance: what SERVICE_USER, which may write there, cannot make of root."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import config
from appliance.accounts import accounts_of
from appliance.config import Settings
from appliance.supervision import Supervisor, prepare_run_dir
from appliance.supervision.client import AccessDenied
from tests.waiting import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start processes under other accounts")

LISTENING = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1] + ".new")
listener.listen()
os.rename(sys.argv[1] + ".new", sys.argv[1])
listener.accept()
"""


@pytest.fixture
def settings() -> Iterator[Settings]:
    """Give settings with two accounts that every Debian has, and a RUN_DIR to which they may pass."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield config.load(run_dir=Path(folder) / "run", service_user="daemon", browser_user="nobody")


def as_service(settings: Settings, *command: str) -> list[str]:
    accounts = accounts_of(settings)
    assert accounts
    return [*accounts.as_service(settings.port), *command]


def test_only_root_makes_the_socket_by_which_root_asks_supervisord(settings: Settings) -> None:
    prepare_run_dir(settings)
    for folder, said in ((settings.run_dir, ""), (Supervisor(settings.run_dir).socket.parent, "Permission denied")):
        done = subprocess.run(as_service(settings, "touch", f"{folder}/x"), capture_output=True, text=True, check=False)
        assert said in done.stderr
        assert bool(said) is bool(done.returncode)


def test_root_asks_no_supervisord_of_another_account(settings: Settings) -> None:
    prepare_run_dir(settings)
    supervisor = Supervisor(settings.run_dir)
    supervisor.socket.parent.chmod(0o777)
    command = as_service(settings, "/usr/bin/python3", "-c", LISTENING, str(supervisor.socket))
    with subprocess.Popen(command, stderr=sys.stderr) as other:
        try:
            until(supervisor.socket.exists, "it listens")
            with pytest.raises(AccessDenied, match="is another account's"):
                supervisor.running()
        finally:
            other.kill()
