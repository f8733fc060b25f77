"""SERVICE_USER and BROWSER_USER: which are taken, and what is run under them."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import SettingsError
from appliance.grid.token_copy import TokenFile
from appliance.grid.token_table import Token
from appliance.machine import kernel, start, user_ids
from appliance.machine.accounts import accounts_of, require_free_uids, require_usable
from appliance.machine.environment import export
from appliance.machine.folders import prepare_run_dir, renew_workers
from appliance.names import Browser
from appliance.run_dir import RunDir
from appliance.settings import config
from appliance.settings.accounts import PRIVATE
from appliance.settings.config import Settings
from appliance.settings.installation import installation_root
from workers.launch_options import driver_environment

BLOCK = "20000-21199"  # which leaves no choice
BOTH = {"service_user": "daemon", "browser_user": "nobody"}  # two accounts that every Debian has

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start processes under other accounts")


def test_without_the_settings_all_is_run_by_the_account_that_starts_it(tmp_path: Path) -> None:
    exported = export(config.load(run_dir=tmp_path), None)
    assert exported["APPLIANCE_AS_SERVICE"] == ""


def test_one_account_without_the_other_is_refused() -> None:
    with pytest.raises(SettingsError, match="must be set together"):
        config.load(browser_user="nobody")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"browser_user": "no-such-account"}, "BROWSER_USER is no-such-account, which is not an account"),
        ({"service_user": "root"}, "must not be root"),
        ({"browser_user": "daemon"}, "must be two accounts"),
    ],
)
def test_accounts_that_are_not_fit_are_refused(names: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        accounts_of(config.load(**BOTH | names))


@as_root
def test_a_process_looks_as_its_real_group_and_is_what_it_was_afterwards() -> None:
    code = """
from pathlib import Path
from typing import Any
from appliance.machine import kernel
def show():
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    print(*next(line for line in lines if line.startswith("Gid:")).split()[1:])
show()
with kernel.as_real_group():
    show()
show()
"""
    groups = {}
    for effective in (1, 2):
        command = ["setpriv", "--rgid=1", f"--egid={effective}", "--clear-groups", sys.executable, "-c", code]
        groups[effective] = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    # real, effective, saved and file-system group: proc(5)
    assert groups == {1: ["1 1 1 1"] * 3, 2: ["1 2 2 2", "1 2 2 1", "1 2 2 2"]}


@as_root
def test_the_proxy_may_listen_on_a_port_of_roots_and_may_nothing_else_of_roots() -> None:
    accounts = accounts_of(config.load(**BOTH))
    assert accounts
    rights = {}
    for port in (443, 8080):
        command = [*accounts.as_service(port), "grep", "^CapEff:", "/proc/self/status"]
        rights[port] = int(subprocess.run(command, capture_output=True, text=True).stdout.split()[1], 16)
    assert rights == {443: 1 << 10, 8080: 0}  # linux/capability.h: CAP_NET_BIND_SERVICE is 10


@as_root
def test_each_account_has_what_is_its_own_in_run_dir(tmp_path: Path) -> None:
    settings = config.load(run_dir=tmp_path / "run", chromium_workers=1, firefox_workers=2, spare_workers=0, **BOTH)
    accounts = accounts_of(settings)
    assert accounts
    (settings.run_dir / "log").mkdir(parents=True)
    (settings.run_dir / "tokens.json").write_text("made by root")
    prepare_run_dir(settings)
    renew_workers(settings)
    found = {path.name: (path.stat().st_uid, path.stat().st_mode & 0o7777) for path in settings.run_dir.iterdir()}
    assert found == {
        "log": (0, 0o700),
        "workers": (0, 0o711),
        "compile-cache": (0, 0o755),
        "secrets": (0, 0o750),
        "mcp": (accounts.agents_uid, 0o770),
        "tokens.json": (accounts.service.uid, 0o644),
    }
    folders = [RunDir(settings.run_dir).workers_of(name).stat() for name in ("chromium-00", "firefox-01")]
    assert {(status.st_gid, status.st_mode & 0o7777) for status in folders} == {(accounts.service.gid, 0o710)}
    assert [status.st_uid - accounts.first_uid for status in folders] == [0, 201]
    assert settings.run_dir.stat().st_mode & 0o7777 == 0o1771
    assert (settings.run_dir.stat().st_uid, settings.run_dir.stat().st_gid) == (0, accounts.service.gid)


@as_root
@pytest.mark.parametrize("uids", ["1000", "61184-61200", "0-1000", "5000-4000", "1-4294967295", "a-b"])
def test_a_range_of_user_ids_that_cannot_be_is_refused(uids: str) -> None:
    with pytest.raises(SettingsError, match=r"BROWSER_UIDS: .* is not a range of at least 1200 user ids"):
        config.load(browser_uids=uids)


def test_each_worker_and_each_appliance_has_user_ids_of_its_own(tmp_path: Path) -> None:
    found = [accounts_of(config.load(run_dir=tmp_path / name, **BOTH)) for name in ("one", "other")]
    one, other = (set(accounts.uids) for accounts in found if accounts)
    assert not one & other
    assert found[0]
    names = [f"{browser}-{number:02}" for browser in Browser for number in range(200)]
    assert {found[0].uid_of(name) for name in names} == set(found[0].uids[:600])
    for name in ("chromium-200", "edge-00", "", "chromium"):
        with pytest.raises(SettingsError, match="has no user id"):
            found[0].uid_of(name)


@as_root
def test_user_ids_of_an_account_or_beyond_the_container_are_refused(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    settings = config.load(run_dir=tmp_path, browser_uids=f"{nobody}-{nobody + 1199}", **BOTH)
    with pytest.raises(SettingsError, match="is that of the account nobody"):
        require_free_uids(settings, ["chromium-00"])
    container = tmp_path / "uid_map"
    container.write_text("         0     100000      65536\n")
    assert kernel.knows_uids(range(61184, 61784), container)
    assert not kernel.knows_uids(range(65000, 65600), container)


def running(uid: int, gid: int, run_dir: Path) -> subprocess.Popen[str]:
    """Start a process with a user id and a group, of an appliance's RUN_DIR."""
    code = "print('ready', flush=True); import time; time.sleep(600)"
    command = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "/usr/bin/python3", "-c", code]
    process = subprocess.Popen(command, env={"RUN_DIR": str(run_dir)}, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


@as_root
@pytest.mark.parametrize("who", ["a service", "another appliance's worker"])
def test_user_ids_that_other_processes_have_are_refused_and_those_processes_live(tmp_path: Path, who: str) -> None:
    settings = config.load(run_dir=tmp_path / "run", browser_uids=BLOCK, **BOTH)
    accounts = accounts_of(settings)
    assert accounts
    strange = (accounts.uids[0], 12345) if who == "a service" else (accounts.own_uids[0], accounts.browser.gid)
    with running(*strange, tmp_path / "other") as stranger:
        try:
            with pytest.raises(SettingsError, match=rf"but process {stranger.pid} \(.*\) has {strange[0]}"):
                user_ids.require_unshared(settings)
            user_ids.end_left(settings)
            assert stranger.poll() is None
        finally:
            stranger.kill()


@as_root
def test_what_an_appliances_own_workers_left_is_ended_whatever_it_says_of_itself(tmp_path: Path) -> None:
    settings = config.load(run_dir=tmp_path / "run", browser_uids=BLOCK, **BOTH)
    accounts = accounts_of(settings)
    assert accounts
    group = accounts.browser.gid
    worker, browser = (accounts.own_uids[0], settings.run_dir), (accounts.uids[0], tmp_path / "other")
    with running(worker[0], group, worker[1]) as one, running(browser[0], group, browser[1]) as other:
        try:
            user_ids.require_unshared(settings)
            user_ids.end_left(settings)
            assert (one.wait(60), other.wait(60)) == (-signal.SIGKILL, -signal.SIGKILL)
        finally:
            one.kill()
            other.kill()


def test_a_driver_that_is_not_compiled_in_time_keeps_no_appliance_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config.load(run_dir=tmp_path, **BOTH)
    log = tmp_path / "log" / "compile-cache.log"
    log.parent.mkdir()
    monkeypatch.setattr(start, "_COMPILE_TIMEOUT_S", 0.01)
    start._compile_driver(settings, dict(os.environ))
    assert log.read_text().startswith("The driver was not compiled: ")


@as_root
def test_the_tokens_stay_the_proxys_whoever_writes_them(tmp_path: Path) -> None:
    file = TokenFile(tmp_path, "redis://h", "grid", "daemon")
    file.change(lambda _: {"digest": Token("ci", 1)})
    status = file.path.stat()
    assert (status.st_uid, status.st_mode & 0o777) == (accounts_of(config.load(**BOTH)).service.uid, 0o600)


@as_root
def test_accounts_that_cannot_read_the_installation_are_named(tmp_path: Path) -> None:
    settings = config.load(run_dir=tmp_path / "run", **BOTH)  # below a folder of pytest's, which is root's alone
    prepare_run_dir(settings)
    with pytest.raises(SettingsError, match="the account daemon cannot run the proxy"):
        require_usable(settings, installation_root())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
def test_only_root_may_use_other_accounts(tmp_path: Path) -> None:
    os.seteuid(65534)
    try:
        with pytest.raises(SettingsError, match="only root can start"):
            prepare_run_dir(config.load(run_dir=tmp_path / "run", **BOTH))
    finally:
        os.seteuid(0)


def environment_of(given: dict[str, str], **settings: Any) -> dict[str, str]:
    workspace = Path("/run/workers/chromium-00.abcdef")
    return driver_environment(given, Settings(**settings), workspace, workspace / "tmp", Path("/run/cache"))


def test_a_browser_of_another_account_has_a_home_of_its_own() -> None:
    given = {"HOME": "/root", "XDG_RUNTIME_DIR": "/run/user/0", "XDG_CACHE_HOME": "/root/cache", "DISPLAY": ":1"}
    own = environment_of(given, **BOTH)
    assert own["HOME"] == own["TMPDIR"] == "/run/workers/chromium-00.abcdef/tmp"
    assert own["DISPLAY"] == ":1"
    assert not own.keys() & {"XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "BROWSER_USER"}
    assert given.items() <= environment_of(given).items()


def test_private_networks_are_named_singly_or_all_or_none() -> None:
    assert config.load(egress_private="none").egress_private == []
    assert config.load(egress_private="all").egress_private == list(PRIVATE)
    assert list(map(str, config.load(egress_private="10.1.0.0/16, fd00::1").egress_private)) == [
        "10.1.0.0/16",
        "fd00::1/128",
    ]
    with pytest.raises(SettingsError, match="which is in PEERS"):
        config.load(egress_private="10.1.0.0/16", peers="10.0.0.0/8")


@pytest.mark.parametrize("settings", [BOTH, {}])
def test_driver_and_browser_are_given_of_a_shell_only_what_is_listed(settings: dict[str, str]) -> None:
    secrets = ("AWS_SECRET_ACCESS_KEY", "REDISCLI_AUTH", "NODE_AUTH_TOKEN", "PLAYWRIGHT_SERVICE_ACCESS_TOKEN")
    accidents = ("https_proxy", "NO_PROXY", "NODE_OPTIONS", "DEBUG", "PWDEBUG", "LC_ALL", "LD_PRELOAD", "SSLKEYLOGFILE")
    wanted = ("PATH", "DISPLAY", "PLAYWRIGHT_BROWSERS_PATH", "NODE_EXTRA_CA_CERTS")
    given = dict.fromkeys((*secrets, *accidents, *wanted), "value")
    assert environment_of(given, **settings).keys() & given.keys() == set(wanted)


SERVING = {"redis_listen": "10.0.0.5:6379", "redis_password": "0123456789abcdef"}
JOINING = {"redis_url": "redis://10.0.0.5", "private_hostname": "10.0.0.6"}


def test_behind_the_firewall_an_appliance_that_serves_redis_must_name_its_peers() -> None:
    with pytest.raises(SettingsError, match=r"PEERS is required.*this one's Redis.* remove REDIS_LISTEN"):
        config.load(**SERVING, **BOTH)
    for unhindered in (BOTH | {"peers": "10.0.0.0/24"}, BOTH | {"guard_inbound": False}, BOTH | {"guard": False}, {}):
        config.load(**SERVING, **unhindered)


def test_an_appliance_whose_redis_nobody_else_needs_to_reach_names_no_peers() -> None:
    config.load(**BOTH)
    config.load(redis_listen="127.0.0.1:6379", **BOTH)
    config.load(**JOINING, **BOTH)


def test_a_firefox_reached_by_loopback_is_refused_behind_the_firewall() -> None:
    bidi = {"firefox_workers": 1, "firefox_channel": "moz-firefox"}
    with pytest.raises(SettingsError, match="does not work with the firewall"):
        config.load(**bidi, **BOTH)
    assert config.load(**bidi, **BOTH, guard=False).firefox_channel == "moz-firefox"
