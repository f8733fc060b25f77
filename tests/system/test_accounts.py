"""What a browser that broke out can do to other workers, where each has a user id of its own: nothing."""

from __future__ import annotations

import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from appliance.grid.records import WorkerInfo
from appliance.names import minor_version
from appliance.run_dir import RunDir
from tests.support.appliance import Appliance, tree
from tests.support.fixtures import OLDER_PLAYWRIGHT
from tests.support.guarded import accounts, as_root, machine
from tests.support.looks import environment_of, paths_in, status_of
from tests.support.machine import Machine
from tests.support.waiting import until

__all__ = ["accounts", "machine"]

pytestmark = as_root

PASSWORD = "of-the-accounts-test"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def driver(added_driver: Path) -> Iterator[Path]:
    """Put the driver of another version where all accounts can read it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(shutil.copytree(added_driver, Path(folder) / OLDER_PLAYWRIGHT))


@pytest.fixture(scope="module")
def grid(machine: Machine, accounts: dict[str, str], driver: Path) -> Iterator[Appliance]:
    """Provide an appliance of two workers, the second one of another version."""
    settings = {"CHROMIUM_WORKERS": 1, "MAX_LIFETIME_SESSIONS": 0, "REDIS_PASSWORD": PASSWORD, "STARTUP_STAGGER": 0}
    settings |= {"DRIVERS_DIR": driver.parent, "POOLS": f"chromium@{minor_version(OLDER_PLAYWRIGHT)}:1"}
    with Appliance(inside=machine.inside(), **settings, **accounts) as grid:
        yield grid


def family(grid: Appliance, name: str) -> dict[str, psutil.Process]:
    """Return the processes of a worker."""
    return tree(worker_of(grid, name).pid)


def worker_of(grid: Appliance, name: str) -> WorkerInfo:
    return next(worker for worker in grid.available(2) if worker.name == name)


def folder(grid: Appliance, name: str) -> Path:
    return grid.socket_of(worker_of(grid, name)).parent


def as_browser_of(grid: Appliance, name: str, *command: str) -> str:
    """Run a command with all that a worker's browser may do; returns its output and its errors."""
    browser = family(grid, name)["browser"]
    become = ["setpriv", f"--reuid={browser.uids().real}", f"--regid={browser.gids().real}", "--clear-groups"]
    done = subprocess.run([*become, *command], capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


def test_each_worker_has_a_user_id_of_its_own_and_all_browsers_one_group(
    grid: Appliance, accounts: dict[str, str]
) -> None:
    browsers = [family(grid, name)["browser"] for name in ("chromium-00", "chromium-01")]
    assert len({browser.uids().real for browser in browsers}) == 2
    assert {browser.gids().real for browser in browsers} == {pwd.getpwnam(accounts["BROWSER_USER"]).pw_gid}


def test_each_driver_is_read_by_its_workers_and_changed_by_none(grid: Appliance, driver: Path) -> None:
    assert worker_of(grid, "chromium-01").version == OLDER_PLAYWRIGHT
    assert Path(family(grid, "chromium-01")["driver"].exe()) == driver / "node"
    for path in (driver / "new", driver / "node", driver / "package" / "lib" / "coreBundle.js"):
        assert "Permission denied" in as_browser_of(grid, "chromium-01", "sh", "-c", f"echo x >> {path}"), path


def test_it_reads_nothing_of_another_worker(grid: Appliance) -> None:
    other, place = family(grid, "chromium-01"), folder(grid, "chromium-01")
    for path in (place, place / "launch.json", place / "tmp", place.parent, place.parent.parent):
        assert "Permission denied" in as_browser_of(grid, "chromium-00", "ls", f"{path}/"), path
    for name, process in other.items():
        for secret in ("environ", "mem", "maps", "fd/1"):
            said = as_browser_of(grid, "chromium-00", "head", "-c1", f"/proc/{process.pid}/{secret}")
            assert "Permission denied" in said or not process.is_running(), (name, secret)


def test_it_can_neither_end_nor_pause_a_worker_nor_reach_anothers_driver(grid: Appliance) -> None:
    own = family(grid, "chromium-00")["worker"]
    for process in (own, *family(grid, "chromium-01").values()):
        for sent in ("-KILL", "-STOP", "-USR1"):
            said = as_browser_of(grid, "chromium-00", "/bin/kill", sent, str(process.pid))
            assert "Operation not permitted" in said or "No such process" in said
    path = folder(grid, "chromium-01") / "driver.sock"
    code = f"import socket; socket.socket(socket.AF_UNIX).connect({str(path)!r})"
    assert "Permission denied" in as_browser_of(grid, "chromium-00", "/usr/bin/python3", "-c", code)
    assert grid.audit() == []


def test_its_group_opens_nothing_in_a_workspace(grid: Appliance) -> None:
    group = family(grid, "chromium-00")["browser"].gids().real
    top = folder(grid, "chromium-00")
    for path in (top, *paths_in(top)):
        status, above = status_of(path), status_of(path.parent)
        if status and above and status.st_gid == group and not stat.S_ISLNK(status.st_mode):
            assert not stat.S_IMODE(status.st_mode) & 0o070 or not above.st_mode & 0o001, path


def test_it_cannot_change_what_later_drivers_run(grid: Appliance) -> None:
    cache = grid.run_dir / "compile-cache"
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) > 500_000
    for path in (cache, *cache.iterdir(), *files):
        assert path.lstat().st_uid == 0
        assert path.is_symlink() or not path.stat().st_mode & 0o022, path
    said = as_browser_of(grid, "chromium-00", "touch", str(cache / "new"))
    assert "Permission denied" in said
    before = {path: path.stat().st_mtime_ns for path in files}
    read = [as_browser_of(grid, name, "sha256sum", *map(str, files)) for name in ("chromium-00", "chromium-01")]
    assert read[0] == read[1]
    assert "Permission denied" not in read[0]
    worker = worker_of(grid, "chromium-01")
    grid.applctl("restart", "chromium-01")
    grid.successor(worker)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()} == before


def test_each_driver_finds_compiled_what_root_has_compiled(grid: Appliance) -> None:
    cache = RunDir(grid.run_dir).compile_cache
    code = "const m = require('module'); m.enableCompileCache(); console.log(m.getCompileCacheDir())"
    found = []
    for name in ("chromium-00", "chromium-01"):
        driver = family(grid, name)["driver"]
        node = [driver.exe(), "--min-semi-space-size=8", "-e", code]
        link = Path(as_browser_of(grid, name, "env", f"NODE_COMPILE_CACHE={cache}", *node).strip())
        assert link.is_symlink()
        assert link.name.endswith(f"-{driver.uids().real}")
        found.append(link.resolve())
    assert len(set(found)) == 2, "each version of node has a folder of its own"


def test_what_hides_from_its_worker_ends_with_it_all_the_same(grid: Appliance) -> None:
    """It has not the workspace's name in its environment, nor the browser's session, nor a parent of the worker's."""
    worker = worker_of(grid, "chromium-00")
    before = tree(worker.pid)
    hide = "setsid sleep 1000 >/dev/null 2>&1 & echo $!"
    as_browser_of(grid, "chromium-00", "env", "-i", "/bin/sh", "-c", hide)
    uid = before["browser"].uids().real

    def hidden() -> list[psutil.Process]:
        found = psutil.process_iter(["name", "uids"])
        return [one for one in found if one.info["name"] == "sleep" and one.info["uids"].real == uid]

    until(hidden, "it runs")
    before["worker"].send_signal(signal.SIGKILL)
    until(lambda: not hidden(), "it is gone")
    grid.successor(worker)


def test_a_folder_closed_by_a_hostile_browser_keeps_no_worker_from_starting(grid: Appliance) -> None:
    own = folder(grid, "chromium-00").parent
    as_browser_of(grid, "chromium-00", "mkdir", "-m", "0", f"{own}/aaaaaa")
    as_browser_of(grid, "chromium-00", "mkdir", "-p", f"{own}/bbbbbb/lock")
    worker = worker_of(grid, "chromium-00")
    grid.applctl("restart", "chromium-00")
    successor = grid.successor(worker)
    assert {path.name for path in own.iterdir()} == {grid.socket_of(successor).parent.name}


@pytest.fixture
def agents_process(grid: Appliance, machine: Machine) -> Iterator[psutil.Process]:
    """Return the process that drives the browser of an agent."""
    client_of = [sys.executable, str(ROOT / "tests/system/clients/agent.py"), str(grid.port)]
    command = machine.inside("env", f"PYTHONPATH={ROOT}", *client_of)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin
        assert client.stdout
        assert "about:blank" in client.stdout.readline(), grid.log("mcp")
        (process,) = grid.process("mcp").children()
        yield process
        client.stdin.close()


def test_an_agents_process_reaches_nothing_but_its_own_sockets(
    grid: Appliance, accounts: dict[str, str], agents_process: psutil.Process
) -> None:
    user, group = agents_process.uids(), agents_process.gids()
    browsers = {family(grid, name)["browser"].uids().real for name in ("chromium-00", "chromium-01")}
    assert len({user.real, user.effective, user.saved}) == 1
    assert user.real not in {0, pwd.getpwnam(accounts["SERVICE_USER"]).pw_uid, *browsers}
    assert {group.real, group.effective} == {pwd.getpwnam(accounts["BROWSER_USER"]).pw_gid}
    assert "NoNewPrivs:\t1" in Path(f"/proc/{agents_process.pid}/status").read_text()
    become = ["setpriv", f"--reuid={user.real}", f"--regid={group.real}", "--clear-groups"]
    for path in ("secrets/redis_password", "redis.conf", "log/proxy.log"):
        assert (grid.run_dir / path).exists(), path
        said = subprocess.run([*become, "cat", grid.run_dir / path], capture_output=True, text=True).stderr
        assert "Permission denied" in said, path
    for path in (grid.run_dir / "redis.sock", grid.socket_of(worker_of(grid, "chromium-00"))):
        code = f"import socket; socket.socket(socket.AF_UNIX).connect({str(path)!r})"
        said = subprocess.run([*become, "/usr/bin/python3", "-c", code], capture_output=True, text=True).stderr
        assert "Permission denied" in said, path


def test_a_browser_reaches_no_socket_of_agents(grid: Appliance, agents_process: psutil.Process) -> None:
    assert agents_process.is_running()
    for name in ("mcp.sock", "browsers.sock"):
        code = f"import socket; socket.socket(socket.AF_UNIX).connect({str(grid.run_dir / 'mcp' / name)!r})"
        assert "Permission denied" in as_browser_of(grid, "chromium-00", "/usr/bin/python3", "-c", code)
    said = as_browser_of(grid, "chromium-00", "/bin/kill", "-KILL", str(agents_process.pid))
    assert "Operation not permitted" in said


def test_no_process_of_the_appliance_has_a_password_in_its_environment(grid: Appliance) -> None:
    found = [process for process in grid.processes() if PASSWORD in "".join(environment_of(process).values())]
    assert found == []
