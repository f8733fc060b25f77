"""Workers' folders: whose lock is held is left alone, whose lock is free is swept with its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from appliance.names import MARKER
from tests.support.waiting import until
from workers import leftovers, workspace
from workers.leftovers import BrowserSession

Start = Callable[..., int]

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
# As a browser does it: its helper has no environment, as Chromium's zygotes have wiped theirs.
BROWSER = [
    sys.executable,
    "-c",
    f"import subprocess, time; subprocess.Popen({SLEEP!r}, env={{}}); time.sleep(600)",
]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes, with or without a workspace's marker; they and their children are gone after the test."""
    started: list[psutil.Process] = []

    def start_process(command: list[str], marker: Path | None = None, session: bool = False) -> int:
        environment = dict(os.environ) | ({MARKER: str(marker)} if marker else {})
        process = psutil.Popen(command, env=environment, start_new_session=session)
        started.append(process)
        until(lambda: process.exe() and process.cmdline() == command, "the process runs its program")
        return int(process.pid)

    yield start_process
    for process in started:
        with suppress(psutil.NoSuchProcess):
            for member in [*process.children(recursive=True), process]:
                member.kill()
            process.wait()


def lives(pid: int) -> bool:
    """Return whether a process runs; one that only waits to be reaped does not."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def abandon(folder: workspace.Workspace) -> Path:
    """Free a folder's lock, as the kernel does when its owner dies."""
    os.close(folder._lock)
    return folder.path


def test_a_folder_whose_owner_lives_is_left_alone(tmp_path: Path, start: Start) -> None:
    own = workspace.create(tmp_path)
    pid = start(SLEEP, own.path)
    assert workspace.sweep(tmp_path) == []
    assert own.temporary.is_dir()
    assert lives(pid)


def test_a_dead_owners_folder_is_swept_with_its_processes(tmp_path: Path, start: Start) -> None:
    folder = abandon(workspace.create(tmp_path))
    pid, stranger = start(SLEEP, folder), start(SLEEP)
    assert workspace.sweep(tmp_path) == [folder.name]
    assert not lives(pid)
    assert lives(stranger)
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_process_is_swept_too(tmp_path: Path, start: Start) -> None:
    folder = abandon(workspace.create(tmp_path))
    pid = start(SLEEP, folder)
    os.kill(pid, signal.SIGSTOP)
    workspace.sweep(tmp_path)
    assert not lives(pid)


def test_an_orphan_without_environment_is_found_by_its_browsers_session(tmp_path: Path, start: Start) -> None:
    own = workspace.create(tmp_path)
    browser = start(BROWSER, own.path, session=True)
    helper = until(lambda: psutil.Process(browser).children(), "the helper runs")[0]
    until(lambda: helper.cmdline() == SLEEP, "the helper runs its program")
    own.remember(leftovers.session_of(browser))
    os.kill(browser, signal.SIGKILL)
    until(lambda: not lives(browser), "the browser is dead")
    assert lives(helper.pid)
    abandon(own)
    workspace.sweep(tmp_path)
    assert not lives(helper.pid)


def test_a_session_that_has_another_leader_by_now_is_none_of_ours(tmp_path: Path, start: Start) -> None:
    folder = tmp_path / "chromium-00.abcdef"
    other = start(BROWSER, tmp_path / "chromium-01.fedcba", session=True)
    session = leftovers.session_of(other)
    assert leftovers.processes_of(folder, session) == set()


def test_a_member_of_the_session_that_runs_another_program_is_none_of_ours(tmp_path: Path, start: Start) -> None:
    folder = tmp_path / "chromium-00.abcdef"
    leader = start(SLEEP, folder, session=True)
    assert leftovers.processes_of(folder, BrowserSession(leader, ("/usr/lib/other",))) == {leader}


def test_descendants_belong_to_the_workspace(tmp_path: Path, start: Start) -> None:
    folder = tmp_path / "chromium-00.abcdef"
    parent = start(BROWSER, folder)
    child = until(lambda: psutil.Process(parent).children(), "the child runs")[0].pid
    assert leftovers.processes_of(folder, None) == {parent, child}
    leftovers.kill(folder, None, timeout_s=5)


def test_many_sweepers_and_makers_at_once_lose_no_folder(tmp_path: Path) -> None:
    made: list[workspace.Workspace] = []

    def make_and_sweep() -> None:
        for _ in range(20):
            made.append(workspace.create(tmp_path))
            workspace.sweep(tmp_path)

    makers = [threading.Thread(target=make_and_sweep) for _ in range(4)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert {folder.path for folder in made} == set(tmp_path.iterdir())
    assert len(made) == 80
    for folder in made:
        folder.clear(family=False)
    assert list(tmp_path.iterdir()) == []


def test_a_browsers_session_is_remembered_and_a_torn_record_is_none(tmp_path: Path) -> None:
    own = workspace.create(tmp_path)
    assert own.session is None
    own.remember(BrowserSession(42, ("/usr/bin/a", "/usr/bin/b")))
    assert own.session == BrowserSession(42, ("/usr/bin/a", "/usr/bin/b"))
    (own.path / "session.json").write_text('{"sid": 4')
    assert own.session is None


def test_a_lock_is_not_inherited_by_the_processes_that_are_started(tmp_path: Path, start: Start) -> None:
    own = workspace.create(tmp_path)
    child = subprocess.Popen(SLEEP, close_fds=False)
    try:
        folder = abandon(own)
        # The kernel drops the child's copy of the lock when it executes its program, perhaps a little later.
        until(lambda: workspace.sweep(tmp_path) == [folder.name], "the child does not hold the lock")
    finally:
        child.kill()
        child.wait()


def test_a_folder_that_cannot_be_locked_goes_with_the_last_process_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "aaaaaa" / "lock").mkdir(parents=True)  # not even root opens it for writing
    (tmp_path / "bbbbbb").symlink_to("/")
    dead = abandon(workspace.create(tmp_path))
    own = workspace.create(tmp_path)
    assert workspace.sweep(tmp_path) == [dead.name]
    assert workspace.sweep(tmp_path, alone_with=own.path) == ["aaaaaa"]
    assert own.temporary.is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
def test_a_folder_that_is_closed_even_to_its_owner_is_removed() -> None:
    with tempfile.TemporaryDirectory() as parent:
        os.chmod(parent, 0o777)
        os.seteuid(65534)
        try:
            own = workspace.create(Path(parent) / "chromium-00")
            (own.temporary / "closed" / "inside").mkdir(parents=True)
            (own.temporary / "closed").chmod(0)
            assert own.clear(family=False)
            assert not own.path.exists()
        finally:
            os.seteuid(0)
