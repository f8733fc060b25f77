"""The shipped process tree under a real supervisord, with small programs in the place of Redis, proxy and workers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import psutil

from appliance.machine.environment import CONFIGURATION, export
from appliance.machine.folders import prepare_run_dir
from appliance.machine.supervisor import Supervisor
from appliance.settings import config
from appliance.settings.installation import installation_root
from tests.support.waiting import until

ROOT = installation_root()


def as_account(account: int | None) -> list[str]:
    """Return the beginning of a command that runs it under an account."""
    return ["setpriv", f"--reuid={account}", f"--regid={account}", "--clear-groups"] if account is not None else []


class Tree:
    """A supervisord with the shipped configuration and one process of each of its six programs."""

    def __init__(self, account: int | None = None) -> None:
        """Start it, under another account if its id is given."""
        self.folder = Path(tempfile.mkdtemp(prefix="tree-"))
        self.folder.chmod(0o755)
        self.run_dir = self.folder / "run"
        self.program = self.folder / "program"
        self.write("exec sleep 3600")
        settings = config.load(
            run_dir=self.run_dir,
            chromium_workers=1,
            firefox_workers=1,
            webkit_workers=1,
            spare_workers=0,
            drivers="none",
        )
        prepare_run_dir(settings)
        if account is not None:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, account, account)
        own = {"APPLIANCE_PYTHON": str(self.program), "REDIS_SERVER": str(self.program)}
        daemon = [*as_account(account), sys.executable, "-m", "supervisor.supervisord", "-c", CONFIGURATION]
        subprocess.run(daemon, cwd=ROOT, env=export(settings, self.program) | own, check=True)
        self.supervisor = Supervisor(self.run_dir)
        try:
            until(self.all_run, "all six run")
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *_: object) -> None:
        """End supervisord and its processes, whatever state they are in."""
        with suppress(psutil.NoSuchProcess):
            family = [self.process, *self.process.children(recursive=True)]
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(family, timeout=30)
        shutil.rmtree(self.folder)

    @cached_property
    def process(self) -> psutil.Process:
        """The process of supervisord, which writes this file when all else is prepared."""
        file = self.run_dir / "log/supervisord.pid"
        until(lambda: file.exists() and file.read_text(), "supervisord has started")
        return psutil.Process(int(file.read_text()))

    def write(self, script: str) -> None:
        """Write the program that all six are, or write another one."""
        new = self.folder / "new"
        new.write_text(f"#!/bin/sh\n{script}\n")
        new.chmod(0o755)
        new.rename(self.program)

    def all_run(self) -> bool:
        """Whether all six run: supervisord itself says so to its own account alone.

        It logs a process when it has closed that process's ends of the pipes.
        """
        running, log = [], self.log()
        for child in self.process.children():
            with suppress(psutil.NoSuchProcess):  # it ended meanwhile
                if child.status() != psutil.STATUS_ZOMBIE and f"with pid {child.pid}\n" in log:
                    running.append(child.name())
        return running == ["sleep"] * 6

    def kill_all(self) -> None:
        """Kill the six processes."""
        for child in self.process.children():
            with suppress(psutil.NoSuchProcess):
                child.kill()

    def starts(self, kind: str) -> int:
        """Count the starts in supervisord's log: those that are "spawned", or whose failure is a "spawnerr"."""
        return self.log().count(f"{kind}:")

    def log(self) -> str:
        """Return supervisord's log."""
        return (self.run_dir / "log/supervisord.log").read_text()

    def descriptors(self) -> int:
        """Count what supervisord has open."""
        return self.process.num_fds()

    def seconds_until_all_run(self) -> float:
        """Wait until all six run, and return the seconds that it took."""
        began = time.monotonic()
        until(self.all_run, "all six run again", within_s=30)
        return time.monotonic() - began
