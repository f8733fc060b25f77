"""The firewall, on a machine of its own: what pages reach, what reaches the machine, and whose processes are whose."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from appliance.grid.grid import Grid
from appliance.grid.store import Store
from appliance.machine.supervisor import Supervisor
from tests.support import machine as places
from tests.support.appliance import Appliance, tree
from tests.support.certificates import Authority
from tests.support.films import assert_plays
from tests.support.guarded import (
    CLIENTS,
    FURTHER,
    PEER,
    accounts,
    as_root,
    assert_refused,
    grid,
    machine,
    one_machine,
    reached,
    running,
    unattended,
)
from tests.support.looks import command_of
from tests.support.machine import Machine
from tests.support.redis_server import redis_server
from tests.support.waiting import until

__all__ = ["accounts", "grid", "machine"]

pytestmark = as_root
CONNECTING, CERTIFIED = CLIENTS / "connecting_client.py", CLIENTS / "certified_client.py"
REDIS = FURTHER


@pytest.fixture
def private(grid: Appliance) -> list[str]:
    """Provide the URLs of what pages must not reach."""
    hosts = [places.METADATA, places.OUTSIDE, PEER, *(f"[{one}]" for one in (places.METADATA_6, places.OUTSIDE_6))]
    own = ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", places.ADDRESS]
    return [
        *(f"http://{host}/" for host in hosts),
        *(f"http://{host}:{grid.port}/healthz" for host in own),
    ]


def connected(machine: Machine, ways: list[tuple[str, int]]) -> set[tuple[str, int]]:
    """Return the ways, each from an address outside to a port of the machine, by which it is reached."""
    command = machine.outside(sys.executable, str(CONNECTING), places.ADDRESS, json.dumps(ways))
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(map(tuple, json.loads(done.stdout)))


def test_pages_and_requests_reach_the_internet_and_nothing_that_is_private(
    machine: Machine, grid: Appliance, private: list[str]
) -> None:
    public = [f"http://{places.PUBLIC}/", f"http://[{places.PUBLIC_6}]/", "http://a-name.test/"]
    found = reached(machine, grid, [*public, *private])
    assert [found[url] for url in public] == [["reached", "reached"]] * 3
    assert_refused(found, private)
    assert "firewall" not in {check["name"] for check in json.loads(doctor(grid)) if check["status"] != "ok"}


def test_without_the_firewall_all_of_that_is_reached_and_the_doctor_says_so(
    machine: Machine, grid: Appliance, private: list[str]
) -> None:
    with unattended(grid):
        subprocess.run(machine.inside("nft", "delete", "table", "inet", "appliance"), check=True)
        try:
            found = reached(machine, grid, private)
            (check,) = [check for check in json.loads(doctor(grid)) if check["name"] == "firewall"]
        finally:
            said = grid.applctl("firewall", "apply").stdout
    assert set(map(tuple, found.values())) == {("reached", "reached")}
    assert (check["status"], check["remedy"]) == ("failed", "Run: applctl firewall apply")
    assert "The firewall rules are loaded: pages reach no private network" in said
    assert f"only TCP 22, {grid.port} is open" in said


EXPOSING = """
import sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    page = playwright.chromium.connect(sys.argv[1], expose_network="<loopback>").new_page()
    page.goto("http://localhost/")
    print(page.title(), page.request.get("http://127.0.0.1/").status)
"""


def test_a_client_shows_its_own_localhost_to_its_browser(machine: Machine, grid: Appliance) -> None:
    command = machine.outside(sys.executable, "-c", EXPOSING, f"ws://{places.ADDRESS}:{grid.port}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "outside 200\n", done.stderr


def test_a_suite_of_playwright_test_shows_its_own_localhost_to_the_grid(
    machine: Machine, grid: Appliance, node_modules: Path, tmp_path: Path
) -> None:
    command = machine.outside("node", str(node_modules / "@playwright" / "test" / "cli.js"), "test")
    own = {"ENDPOINT": f"ws://{places.ADDRESS}:{grid.port}", "OUTPUT": str(tmp_path)}
    folder, environment = CLIENTS / "exposing", os.environ | own
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


VIDEO = """
import sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    page = playwright.chromium.connect(sys.argv[1]).new_page(record_video_dir=sys.argv[2])
    page.set_content("<title>film</title>")
    page.close()
    page.video.save_as(sys.argv[2] + "/film.webm")
"""


def test_videos_are_recorded_by_the_browsers_account(machine: Machine, grid: Appliance, tmp_path: Path) -> None:
    endpoint = f"ws://{places.ADDRESS}:{grid.port}"
    subprocess.run(machine.outside(sys.executable, "-c", VIDEO, endpoint, str(tmp_path)), check=True, timeout=120)
    assert_plays(tmp_path / "film.webm", frames=1)


def test_client_certificates_work_behind_the_firewall_and_reach_nothing_else(
    machine: Machine, grid: Appliance, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    authority.issue(host=places.PUBLIC)
    pair = authority.issue("client", "client.test")
    command = machine.outside(sys.executable, "-m", "tests.support.certified_site", places.PUBLIC, "443", str(tmp_path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as site:
        try:
            assert site.stdout
            assert site.stdout.readline().startswith("https://")
            url, endpoint = f"https://{places.PUBLIC}", f"ws://{places.ADDRESS}:{grid.port}"
            client = [sys.executable, str(CERTIFIED), endpoint, url, str(pair.certificate), str(pair.key)]
            done = subprocess.run(machine.outside(*client), capture_output=True, text=True, check=False, timeout=120)
        finally:
            site.kill()
    assert done.stdout.split() == ["for", "the", "certified", "200"], done.stderr
    elsewhere = f"http://127.200.1.1:{grid.port}/healthz"  # where the proxy, which listens everywhere, would answer
    page, request = reached(machine, grid, [elsewhere], within_s=3)[elsewhere]  # it would answer at once
    assert "reached" not in (page, request)


def doctor(grid: Appliance) -> str:
    return grid.applctl("doctor", "--json", check=False).stdout


def test_nobody_outside_reaches_another_program(machine: Machine, grid: Appliance) -> None:
    with subprocess.Popen(
        machine.inside(sys.executable, "-m", "http.server", "999"), stderr=subprocess.DEVNULL
    ) as other:
        try:
            until(lambda: listens(machine, 999), "another program listens")
            ways = [(who, port) for who in (PEER, places.OUTSIDE) for port in (grid.port, 999)]
            assert connected(machine, ways) == {(PEER, grid.port), (places.OUTSIDE, grid.port)}
        finally:
            other.kill()


def listens(machine: Machine, port: int) -> bool:
    command = machine.inside("ss", "-Hltn", f"sport = :{port}")
    return bool(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_browsers_run_in_their_sandbox_and_in_a_group_of_their_own(grid: Appliance, accounts: dict[str, str]) -> None:
    family = tree(grid.state.workers()[0].pid)
    worker, driver, browser = (family[name] for name in ("worker", "driver", "browser"))
    assert {*driver.uids(), *browser.uids()} == {worker.uids().effective}
    assert worker.uids().real == worker.uids().saved
    named = (0, *(pwd.getpwnam(name).pw_uid for name in accounts.values()))
    assert len({worker.uids().real, worker.uids().effective, *named}) == 5
    own, shared = worker.gids().real, worker.gids().effective
    assert own == pwd.getpwnam(accounts["BROWSER_USER"]).pw_gid != shared
    assert driver.gids() == browser.gids() == (own, own, own)
    proxy = grid.process("proxy")
    assert (grid.run_dir / "tokens.json").owner() == accounts["SERVICE_USER"]
    assert (proxy.username(), proxy.gids().effective) == (accounts["SERVICE_USER"], shared)
    assert "browser.no_sandbox" not in grid.log("chromium-00")
    renderers = [one for one in family.values() if "--type=renderer" in command_of(one)]
    namespaces = {user_namespace(one) for one in [*renderers, *zygotes(family)]} - {""}
    assert namespaces
    assert os.readlink("/proc/self/ns/user") not in namespaces


def user_namespace(process: psutil.Process) -> str:
    """Return which one a process is in, "" if it has ended."""
    with suppress(OSError):
        return os.readlink(f"/proc/{process.pid}/ns/user")
    return ""


def zygotes(family: dict[str, psutil.Process]) -> list[psutil.Process]:
    """Return the zygotes that renderers are forked from; one of Chromium's three is outside of the sandbox."""
    return [
        one
        for one in family.values()
        if {"--type=zygote", "--no-zygote-sandbox"} & {*command_of(one)} == {"--type=zygote"}
    ]


def test_a_browser_that_broke_out_reads_nothing_of_its_worker(machine: Machine, grid: Appliance) -> None:
    family = tree(grid.state.workers()[0].pid)
    group = family["driver"].gids().real
    become = ["setpriv", f"--reuid={family['driver'].uids().real}", f"--regid={group}", "--clear-groups"]

    def read(path: str) -> str:
        done = subprocess.run([*become, "cat", path], capture_output=True, check=False)
        return (done.stdout + done.stderr).decode(errors="replace")

    assert "APPLIANCE_WORKSPACE" in read(f"/proc/{family['driver'].pid}/environ")
    for secret in ("environ", "mem", "maps", "fd/0"):
        assert "Permission denied" in read(f"/proc/{family['worker'].pid}/{secret}"), secret
    for file in ("tokens.json", "log/proxy.log", "log/supervisord.pid"):
        assert "Permission denied" in read(str(grid.run_dir / file)), file
    for name in ("redis.sock", "log/supervisor.sock"):
        code = f"import socket; socket.socket(socket.AF_UNIX).connect('{grid.run_dir}/{name}')"
        done = subprocess.run([*become, "/usr/bin/python3", "-c", code], capture_output=True, text=True, check=False)
        assert "Permission denied" in done.stderr, name


def test_a_second_appliance_leaves_the_machines_rules_to_the_first(
    machine: Machine, grid: Appliance, accounts: dict[str, str]
) -> None:
    refused = pytest.raises(AssertionError, match=f"appliance in {grid.run_dir} already looks after the firewall rules")
    with refused, running(machine, accounts):
        pass
    way = (places.OUTSIDE, grid.port)
    assert connected(machine, [way]) == {way}


def test_with_a_private_network_allowed_the_grids_own_machines_are_still_refused(accounts: dict[str, str]) -> None:
    settings = {"REDIS_URL": f"redis://{REDIS}", "PEERS": PEER, "EGRESS_PRIVATE": f"{places.OUTSIDE}/24"}
    with (
        one_machine() as machine,
        redis_server(machine.outside(), f"--bind {REDIS} --port 6379 --protected-mode no") as url,
        running(machine, accounts, **settings) as grid,
    ):
        grid.state.store.close()
        grid.state = Grid(Store(url, "grid"))
        closed = [f"http://{PEER}/", f"http://{REDIS}/", f"http://{REDIS}:6379/", f"http://{places.METADATA}/"]
        found = reached(machine, grid, [f"http://{places.OUTSIDE}/", *closed])
        assert found[f"http://{places.OUTSIDE}/"] == ["reached", "reached"]
        assert_refused(found, closed)
        worker_and_browser_are_killed(grid)
        supervisord_is_killed(grid)


def worker_and_browser_are_killed(grid: Appliance) -> None:
    """A worker that is killed leaves what its successor removes, though it has another group."""
    (worker,) = grid.state.workers()
    family = tree(worker.pid)
    for name, process in family.items():
        if name not in ("worker", "driver"):
            with suppress(psutil.NoSuchProcess):
                process.suspend()  # so that it does not end by itself
    family["worker"].kill()
    until(lambda: not any(process.is_running() for process in family.values()), "no process is left")
    successor = grid.successor(worker)
    until(lambda: grid.workspaces() == {successor.id.partition(".")[2]}, "no temporary folder is left")


def supervisord_is_killed(grid: Appliance) -> None:
    """Nothing outlives supervisord: looking for leftovers has not cost the workers the kernel's word of its end."""
    os.kill(Supervisor(grid.run_dir).pid(), signal.SIGKILL)
    until(lambda: not grid.processes(), "all have ended by themselves")


def test_the_proxys_account_remembers_a_drain_in_the_file_that_root_made(grid: Appliance) -> None:
    memory = grid.run_dir / "appliance.json"
    for command, is_drained in (("drain", True), ("undrain", False)):
        grid.applctl("appliance", command)
        until(lambda: json.loads(memory.read_text())["drained"] is is_drained, f"{command} is remembered")  # noqa: B023
    grid.available(1)
