"""An appliance on a machine of its own, whose disk, processes and routes can be taken from it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tests.support.cluster import Member

DISK_BYTES = 512 << 20
PIDS_V1, UNIFIED = Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")
STEP_S = 0.02


class ProcessGroup:
    """A cgroup that counts and bounds its processes and threads: the pids controller, of either version."""

    def __init__(self, name: str) -> None:
        """Make the group; only root may."""
        self._folder = (PIDS_V1 if PIDS_V1.is_dir() else UNIFIED) / name
        if not PIDS_V1.is_dir():
            (UNIFIED / "cgroup.subtree_control").write_text("+pids")
        self._folder.mkdir()
        self.inside = ["sh", "-c", f'echo $$ > {self._folder}/cgroup.procs && exec "$@"', "sh"]

    def processes(self) -> set[int]:
        """Return the ids of the processes in the group."""
        return {int(line) for line in (self._folder / "cgroup.procs").read_text().split()}

    def limit(self) -> str:
        """Return how many processes and threads it may have, or "max"."""
        return (self._folder / "pids.max").read_text().strip()

    def stay_full(self, lasts_s: float) -> None:
        """Let nothing in the group start a process or a thread for so long, as if others took what it frees."""
        until = time.monotonic() + lasts_s
        least = sys.maxsize
        try:
            while time.monotonic() < until:
                least = min(least, int((self._folder / "pids.current").read_text()))
                (self._folder / "pids.max").write_text(str(least))
                time.sleep(STEP_S)
        finally:
            (self._folder / "pids.max").write_text("max")

    @contextmanager
    def without_forks(self, pid: int) -> Iterator[None]:
        """Let one process fork nothing for as long as the block lasts: it is in a group of its own meanwhile."""
        alone = self._folder.with_name(f"{self._folder.name}-{secrets.token_hex(3)}")
        alone.mkdir()
        try:
            (alone / "cgroup.procs").write_text(str(pid))
            (alone / "pids.max").write_text("1")
            yield
        finally:
            with suppress(ProcessLookupError):
                (self._folder / "cgroup.procs").write_text(str(pid))
            alone.rmdir()

    def remove(self) -> list[int]:
        """Kill what is left in the group, return its process ids, and remove the group."""
        left = sorted(self.processes())
        while pids := self.processes():
            for pid in pids:
                psutil.Process(pid).kill()
            time.sleep(STEP_S)
        self._folder.rmdir()
        return left


class BoundedMember(Member):
    """One of the appliances of a cluster, with a disk and a process group of its own."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        """Start it."""
        self.left: list[str] = []
        self._auditor: subprocess.Popen[str] | None = None
        try:
            super().__init__(*arguments, **settings)
        except BaseException:
            self._give_back()
            raise

    def _make_folder(self) -> Path:
        """Make RUN_DIR on a file system of its own."""
        self.disk = Path(tempfile.mkdtemp(prefix="grid-"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "grid", self.disk], check=True)
        self.group = ProcessGroup(self.disk.name)
        (self.disk / "run").mkdir()
        return self.disk / "run"

    def up(self) -> None:
        """Start it in its process group; what only asks about it stays outside."""
        outside = self._inside
        self._inside = [*self.group.inside, *outside]
        try:
            super().up()
        finally:
            self._inside = outside

    def audit(self) -> list[str]:
        """Audit it where its sockets can be seen, by a process that is at hand: how soon it is whole is measured."""
        if self._auditor is None:
            stranger = {name: value for name, value in self.env.items() if name != "RUN_DIR"}  # no process of its own
            self._auditor = subprocess.Popen(
                self._audit_command, env=stranger, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._auditor.stdin
        assert self._auditor.stdout
        with suppress(BrokenPipeError):
            print(file=self._auditor.stdin, flush=True)
        if line := self._auditor.stdout.readline():
            found: list[str] = json.loads(line)
            return found
        self._auditor.wait()
        self._auditor = None
        return [f"{self.name} cannot be audited"]

    def stop(self) -> None:
        """Stop it. What it leaves behind is noted in `left`, and removed."""
        try:
            super().stop()
        except AssertionError as error:
            self.left.append(f"{self.name}: {error}")
        self._give_back()

    def _give_back(self) -> None:
        if self._auditor:
            self._auditor.communicate()
        self.left += [f"{self.name}: process {pid} is left behind" for pid in self.group.remove()]
        subprocess.run(["umount", "--lazy", self.disk], check=True)
        self.disk.rmdir()

    def keep_disk_full(self, lasts_s: float) -> None:
        """Leave no room on its disk for so long, also where it makes some."""
        filler = self.disk / "filler"
        until = time.monotonic() + lasts_s
        try:
            while time.monotonic() < until:
                fill(filler)
                time.sleep(STEP_S)
        finally:
            filler.unlink()


def fill(file: Path) -> None:
    """Let a file take all the room that is left on its file system."""
    with file.open("ab", buffering=0) as out:
        for size in (1 << 20, os.sysconf("SC_PAGE_SIZE")):
            try:
                while True:
                    out.write(bytes(size))
            except OSError:  # no room for so much
                continue
