"""RUN_DIR where root starts the appliance: what SERVICE_USER, which may write there, cannot make of root."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import SettingsError
from appliance.machine.accounts import accounts_of
from appliance.machine.folders import bringing_up, prepare_run_dir, renew_workers
from appliance.machine.supervisor import AccessDenied, Supervisor
from appliance.run_dir import RunDir
from appliance.settings import config
from appliance.settings.config import Settings
from tests.support.waiting import until

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
    """Provide settings with two accounts that every Debian has, and a RUN_DIR to which they may pass."""
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
            with pytest.raises(AccessDenied, match="another account listens at"):
                supervisor.running()
        finally:
            other.kill()


def test_logs_of_a_run_without_the_accounts_become_roots(settings: Settings) -> None:
    log = settings.run_dir / "log"
    log.mkdir(parents=True)
    for folder in (settings.run_dir, log):
        os.chown(folder, 1, 1)
    prepare_run_dir(settings)
    assert (log.stat().st_uid, log.stat().st_gid, log.stat().st_mode & 0o7777) == (0, 0, 0o700)


@pytest.mark.parametrize("command", [("touch",), ("ln", "-s", "/etc/passwd")])
def test_root_takes_over_no_log_that_another_account_has_made(settings: Settings, command: tuple[str, ...]) -> None:
    prepare_run_dir(settings)
    log = settings.run_dir / "log"
    log.chmod(0o777)
    subprocess.run(as_service(settings, *command, f"{log}/proxy.log"), check=True)
    with pytest.raises(SettingsError, match=r"proxy\.log is .* and root would write there"):
        prepare_run_dir(settings)


@pytest.mark.parametrize("name", ["log", "workers", "secrets", "compile-cache"])
def test_root_closes_no_folder_to_which_another_account_has_made_a_link(settings: Settings, name: str) -> None:
    prepare_run_dir(settings)
    (settings.run_dir / name).rmdir()
    elsewhere = settings.run_dir.parent / "elsewhere"
    elsewhere.mkdir(0o755)
    subprocess.run(as_service(settings, "ln", "-s", str(elsewhere), f"{settings.run_dir}/{name}"), check=True)
    with pytest.raises(SettingsError, match=f"{name} is a link"):
        prepare_run_dir(settings)
    assert (elsewhere.stat().st_uid, elsewhere.stat().st_mode & 0o7777) == (0, 0o755)


def test_starting_writes_to_no_file_to_which_another_account_has_made_a_link(settings: Settings) -> None:
    prepare_run_dir(settings)
    precious = settings.run_dir.parent / "precious"
    precious.write_text("of root")
    subprocess.run(as_service(settings, "ln", "-s", str(precious), f"{settings.run_dir}/up.lock"), check=True)
    with bringing_up(settings):
        assert precious.read_text() == "of root"


def test_starting_removes_what_workers_of_any_account_have_left_and_follows_no_link(settings: Settings) -> None:
    prepare_run_dir(settings)
    workers = RunDir(settings.run_dir).workers
    precious = settings.run_dir.parent / "precious"
    (precious / "inside").mkdir(parents=True)
    for name, owner in (("chromium-00/abc", 0), ("gone-07/abc", 12345)):
        (workers / name / "tmp").mkdir(parents=True)
        (workers / name / "tmp").chmod(0)
        os.chown(workers / name, owner, owner)
        (workers / name / "link").symlink_to(precious)
    (workers / "linked").symlink_to(precious)
    (workers / "file").touch()
    renew_workers(settings)
    assert {path.name for path in workers.iterdir()} == set(settings.worker_names)
    assert not [*workers.glob("*/*")]
    assert (precious / "inside").is_dir()
