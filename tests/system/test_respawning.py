"""Whatever keeps the appliance's processes from being started, they are back soon after it has passed."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

import psutil
import pytest

from tests.support.supervised import Tree, as_account
from tests.support.waiting import until

PROGRAMS = 6
TRIES_EACH = 5  # by itself, supervisord gives up after four
BACK_WITHIN_S = 10
ORDINARY_USER = 54321  # nobody else's, so that its processes can be counted


@dataclass(frozen=True)
class Cause:
    """Something that keeps processes from being started."""

    begin: Callable[[Tree], None]
    end: Callable[[Tree], None]
    account: int | None = None


def limited(resource: str, value: Callable[[Tree], int], account: int | None = None) -> Cause:
    """Return the cause that a soft limit of supervisord's is too low; the hard one stays."""

    def limit(tree: Tree, to: int | str) -> None:
        prefix = as_account(account) if account else []
        subprocess.run([*prefix, "prlimit", f"--pid={tree.process.pid}", f"--{resource}={to}:"], check=True)

    return Cause(lambda tree: limit(tree, value(tree)), lambda tree: limit(tree, 1024), account)


def take_program_away(tree: Tree) -> None:
    tree.program.rename(tree.folder / "away")


def put_program_back(tree: Tree) -> None:
    (tree.folder / "away").rename(tree.program)


def causes() -> list[Cause]:
    """Return the causes; that fork fails can be had for an ordinary user alone."""
    no_descriptors = limited("nofile", lambda tree: tree.descriptors() - 3 * PROGRAMS + 2)
    fork_fails = limited("nproc", lambda _: 1, ORDINARY_USER)
    found = [Cause(take_program_away, put_program_back), no_descriptors]
    return [*found, fork_fails] if os.geteuid() == 0 else found


def test_all_processes_are_back_soon_after_what_kept_them_from_starting_is_gone() -> None:
    found = causes()
    with ExitStack() as stack:
        trees = [stack.enter_context(Tree(cause.account)) for cause in found]
        before = [tree.descriptors() for tree in trees]
        for cause, tree in zip(found, trees, strict=True):
            cause.begin(tree)
            tree.kill_all()
        for tree in trees:
            until(
                lambda tree=tree: tree.starts("spawnerr") >= TRIES_EACH * PROGRAMS, "it does not give up", within_s=90
            )
            assert tree.process.cpu_times().user < 3, "it spins"
        for cause, tree in zip(found, trees, strict=True):
            cause.end(tree)
        began = time.monotonic()
        for tree in trees:
            tree.seconds_until_all_run()
        assert time.monotonic() - began < BACK_WITHIN_S
        until(lambda: [tree.descriptors() for tree in trees] == before, "no descriptor is left open")


def test_a_process_that_fails_at_once_is_tried_again_once_a_second() -> None:
    with Tree() as tree:
        tree.write("exit 1")
        began, before = time.monotonic(), tree.starts("spawned")
        tree.kill_all()
        until(lambda: tree.starts("spawned") >= before + 3 * PROGRAMS, "each is tried three times", within_s=60)
        assert tree.starts("spawned") - before <= PROGRAMS * (2 + time.monotonic() - began)
        tree.write("exec sleep 3600")
        assert tree.seconds_until_all_run() < BACK_WITHIN_S


def test_starts_that_fail_for_want_of_a_log_leave_no_descriptors_open() -> None:
    with Tree() as tree:
        before = tree.descriptors()
        log = tree.run_dir / "log/proxy.log"
        log.unlink()
        log.mkdir()
        tree.kill_all()
        until(lambda: tree.starts("spawnerr") >= 2, "the proxy is tried twice")
        until(lambda: tree.descriptors() <= before, "no descriptor is left open")
        log.rmdir()
        assert tree.seconds_until_all_run() < BACK_WITHIN_S


def test_a_restart_that_nobody_waits_for_starts_the_process_again() -> None:
    with Tree() as tree:
        before = {process.name: process.pid for process in tree.supervisor.processes()}
        take_program_away(tree)
        with pytest.raises(Exception, match=r"proxy does not st(art|op)"):
            tree.supervisor.restart_process("proxy", within_s=0)
        put_program_back(tree)
        assert tree.seconds_until_all_run() < BACK_WITHIN_S
        after = {process.name: process.pid for process in tree.supervisor.processes()}
        assert {name for name in after if after[name] != before[name]} == {"proxy"}


def test_supervisord_starts_and_stops_its_processes_without_a_pause() -> None:
    with Tree() as tree:
        log = (tree.run_dir / "log/supervisord.log").read_text()
        times = re.findall(r"^(.{23}) INFO (?:supervisord started|spawned)", log, re.MULTILINE)
        started, *spawned = (datetime.fromisoformat(time.replace(",", ".")) for time in times)
        assert (max(spawned) - started).total_seconds() < 0.9
        process, began = tree.process, time.monotonic()
        tree.supervisor.shutdown()
        until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, "supervisord has ended")
        assert time.monotonic() - began < 1


def test_supervisord_fetches_the_exit_status_of_what_killed_processes_leave() -> None:
    with Tree() as tree:
        tree.write("sleep 0.2 & exec sleep 3600")
        tree.kill_all()
        tree.seconds_until_all_run()
        pids = [process.pid for process in tree.supervisor.processes()]
        until(
            lambda: all(psutil.Process(pid).cmdline()[0] == "sleep" for pid in pids),
            "each has a child, which it leaves",
        )
        tree.kill_all()
        until(lambda: "reaped unknown pid" in (tree.run_dir / "log/supervisord.log").read_text(), "it is fetched")
