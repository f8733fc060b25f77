"""Control groups, in a part of their tree that is handed to an appliance as systemd does it (Delegate=)."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from appliance.machine import cgroups
from tests.support.appliance import Appliance, tree
from tests.support.waiting import until


def tree_of_groups() -> Path | None:
    """Return where the tree is mounted, if this process may make a part of it."""
    lines = map(str.split, Path("/proc/self/mounts").read_text().splitlines())
    mounted = next((Path(fields[1]) for fields in lines if fields[2] == "cgroup2"), None)
    return mounted if mounted and os.access(mounted, os.W_OK) else None


TREE = tree_of_groups()
pytestmark = pytest.mark.skipif(TREE is None, reason="this machine has no cgroup v2, or only root may divide it")


@pytest.fixture
def part() -> Iterator[Path]:
    """Make a part that is handed over; it is removed with all that is in it."""
    assert TREE
    part = TREE / f"test-{os.getpid()}"
    part.mkdir()
    os.setxattr(part, "user.delegate", b"1")
    yield part
    (part / "cgroup.kill").write_text("1")
    until(lambda: "populated 0" in (part / "cgroup.events").read_text(), "the part is empty")
    for group in sorted((path for path in part.rglob("*") if path.is_dir()), reverse=True):
        group.rmdir()
    part.rmdir()


def in_part(part: Path) -> list[str]:
    """Return the beginning of a command that runs in a part."""
    return ["sh", "-c", f'echo 0 > {part}/cgroup.procs && exec "$@"', "sh"]


def group_of(process: psutil.Process) -> str:
    lines = Path(f"/proc/{process.pid}/cgroup").read_text().splitlines()
    return next(line.removeprefix("0::") for line in lines if line.startswith("0::"))


def test_each_worker_has_a_group_and_nothing_in_it_outlives_the_worker(part: Path) -> None:
    with Appliance(inside=in_part(part), MAX_LIFETIME_SESSIONS=0) as grid:
        worker = grid.state.workers()[0]
        family = tree(worker.pid)
        top = f"/{part.name}"
        assert group_of(family["worker"]) == f"{top}/chromium-00"
        assert {group_of(family[name]) for name in ("driver", "browser")} == {f"{top}/chromium-00/browser"}
        assert group_of(grid.process("proxy")) == f"{top}/appliance"
        hide = f"echo 0 > {part}/chromium-00/browser/cgroup.procs; exec setsid env -i sleep 1000"
        hidden = psutil.Popen(["sh", "-c", hide])
        until(lambda: hidden.name() == "sleep", "it runs, with nothing that says whose it is")
        family["worker"].send_signal(signal.SIGKILL)
        assert hidden.wait(60) == -signal.SIGKILL
        successor = grid.successor(worker)
        assert group_of(psutil.Process(successor.pid)) == f"{top}/chromium-00"
        assert "worker.no_group" not in grid.log("chromium-00")


def test_a_tree_that_is_not_handed_over_is_left_alone(tmp_path: Path) -> None:
    assert TREE
    mounts, own = tmp_path / "mounts", tmp_path / "cgroup"
    mounts.write_text(f"cgroup2 {TREE} cgroup2 rw 0 0\n")
    own.write_text("1:memory:/\n0::/\n")
    assert cgroups.find_part(mounts, own) is None
    mounts.write_text("tmpfs /sys/fs/cgroup tmpfs rw 0 0\n")  # cgroup v1 alone
    assert cgroups.find_part(mounts, own) is None


def test_an_account_that_has_a_group_moves_only_within_it(part: Path) -> None:
    cgroups_of = f"from pathlib import Path; from appliance.machine import cgroups; part = Path({str(part)!r}); "
    code = cgroups_of + "cgroups.divide(part); group = cgroups.enter(part, 'chromium-00', 65534, 1 << 30); "
    code += "import os; os.setresuid(65534, 65534, 65534); group.join_browser(); print('joined')\n"
    code += "try: cgroups._write(part / 'appliance' / 'cgroup.procs', '0')\nexcept PermissionError: print('kept')\n"
    code += "group.kill_browser()"
    command = [*in_part(part), os.sys.executable, "-c", code]  # type: ignore[attr-defined]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["joined", "kept"], done.stderr
    assert done.returncode == -signal.SIGKILL
