"""The image with user data: what runs on the machine, as whom, what it lets through, and what it keeps."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.image.machine import BOOT_S, SITE, STEP_S, TOKEN, Machine, Measured
from tests.image.seed import SETTINGS_FILE
from tests.image.session import use
from tests.support.waiting import until

MAX_IDLE_MIB = 900


def setting(seeded: Machine, name: str) -> Any:
    settings = json.loads(seeded.run("applctl config --json"))
    return next(one["value"] for one in settings if one["name"] == name)


def test_user_data_gives_settings_token_and_name(seeded: Machine) -> None:
    assert setting(seeded, "CHROMIUM_WORKERS") == 2
    assert setting(seeded, "APPLIANCE_NAME") == "seeded"
    assert setting(seeded, "HOST") == "0.0.0.0"
    assert use(seeded.endpoint, TOKEN, site=SITE).title == "A page outside"


def test_all_services_run(seeded: Machine) -> None:
    assert seeded.run("systemctl --failed --plain --no-legend") == ""
    wanted = "playwright-appliance ssh systemd-timesyncd systemd-resolved"
    assert seeded.run(f"systemctl is-active {wanted}").split() == ["active"] * 4
    assert seeded.run("systemctl is-enabled redis-server apt-daily.timer", check=False).split() == [
        "disabled",
        "masked",
    ]


def test_only_ssh_and_the_endpoint_listen_beyond_loopback(seeded: Machine) -> None:
    rows = [line.split() for line in seeded.run("ss -Hltun").splitlines()]
    open_to_all = {(row[0], row[4].rpartition(":")[2]) for row in rows if not re.match(r"127\.|\[::1\]", row[4])}
    assert open_to_all - {("udp", "68"), ("udp", "546")} == {("tcp", "22"), ("tcp", "8080")}  # 68, 546: DHCP's client


def test_each_process_has_its_account(seeded: Machine) -> None:
    rows = [line.split(None, 2) for line in seeded.run("ps -eo user:20,group:20,args --no-headers").splitlines()]

    def accounts(mark: str) -> set[str]:
        return {user for user, _, args in rows if mark in args}

    assert [accounts(mark) for mark in ("supervisor.supervisord", "redis-server", "-m proxy")] == [
        {"root"},
        {"appliance"},
        {"appliance"},
    ]
    workers = accounts("-m workers")
    assert len(workers) == 2
    assert all(uid.isdigit() for uid in workers)
    for mark in ("launch-server", "chromium-headless-shell --type="):
        assert accounts(mark) == workers
        assert {group for _, group, args in rows if mark in args} == {"browser"}


def test_the_sandbox_is_on_and_the_doctor_finds_nothing(seeded: Machine) -> None:
    assert "--no-sandbox" not in seeded.run("ps -eo args")
    assert "no_sandbox" not in seeded.run("cat /var/lib/playwright-appliance/log/chromium-*.log")
    checks = json.loads(seeded.run("applctl doctor --json", check=False))
    assert [check for check in checks if check["status"] != "ok"] == []


def test_nothing_of_the_build_is_left(seeded: Machine) -> None:
    # written such that the commands, which are logged, do not find themselves
    assert seeded.run("getent passwd | grep 'p[a]cker'; ls /home", check=False) == "debian"
    left = "grep -rls --exclude-dir=compile-cache 'p[a]cker' /etc /root /home /var"  # the driver's code has the word
    assert seeded.run(left, check=False) == ""
    assert seeded.run("find /tmp/payload /var/lib/apt/lists /usr/sbin/policy-rc.d -type f", check=False) == ""
    assert seeded.run("find /etc/ssh -name 'ssh_host_*' -not -newer /etc/machine-id") == ""


def test_the_kernel_gives_what_browsers_need(seeded: Machine) -> None:
    names = "kernel.unprivileged_userns_clone kernel.yama.ptrace_scope"
    assert seeded.run(f"sysctl -n {names}").split() == ["1", "1"]
    assert int(seeded.run("df --output=size -BM /dev/shm | tail -n 1").rstrip("M")) >= 1024
    limits = seeded.run("grep 'open files' /proc/$(pgrep -of 'm proxy')/limits").split()
    assert int(limits[3]) >= 1_000_000


def test_letters_of_the_world_and_emoji_have_fonts(seeded: Machine) -> None:
    for letters in (":lang=en", ":lang=zh-cn", ":lang=ja", ":lang=ko", ":charset=1f600"):
        assert seeded.run(f"fc-list {letters}"), letters


def test_an_idle_appliance_with_two_warm_workers_needs_little_memory(seeded: Machine, measured: Measured) -> None:
    used = seeded.run(r"awk '/MemTotal/{t=$2} /MemAvailable/{a=$2} END{print int((t-a)/1024)}' /proc/meminfo")
    measured["memory of the idle machine with two warm workers, in MiB"] = int(used)
    assert int(used) <= MAX_IDLE_MIB


def test_the_login_message_shows_state_and_endpoint_but_no_token(seeded: Machine) -> None:
    message = seeded.guest.login_message()
    assert "ready" in message
    assert "ws://203.0.113.15:8080" in message
    assert TOKEN not in message


def test_the_token_is_in_no_log_and_only_root_reads_it(seeded: Machine) -> None:
    # the pattern is in a file, as commands are logged
    seeded.run(f"umask 022; sed -n 's/^APPLIANCE_TOKEN=//p' {SETTINGS_FILE} >/tmp/token; test -s /tmp/token")
    assert seeded.run("journalctl | grep -cf /tmp/token", check=False) == "0"
    found = seeded.run("grep -rlsf /tmp/token /etc /run /var", check=False).splitlines()
    assert [file for file in found if not file.startswith("/var/lib/cloud/")] == [SETTINGS_FILE]
    as_browser = "runuser -u browser -- grep -rlsf /tmp/token"
    assert seeded.run(f"{as_browser} /etc /run /var /proc/[0-9]*/environ", check=False) == ""
    assert TOKEN not in seeded.console.read_text(errors="replace")


@pytest.mark.parametrize(
    "mark", ["[s]upervisor.supervisord", "[r]edis-server", "[m] proxy", "[m] workers", "[l]aunch-server"]
)
def test_what_is_killed_comes_back(seeded: Machine, mark: str) -> None:
    ask = f"pgrep -f '{mark}'"
    before = seeded.run(ask).split()
    seeded.run(f"kill -9 {before[0]}")
    until(lambda: before[0] not in seeded.run(ask, check=False).split(), "it is gone", STEP_S)
    seeded.await_whole()
    assert len(seeded.run(ask).split()) == len(before)


def test_settings_and_host_keys_outlive_a_reboot(seeded: Machine) -> None:
    keys = seeded.run("cat /etc/ssh/ssh_host_*.pub /etc/machine-id")
    seeded.run("applctl config set MAX_CONCURRENT_SESSIONS=3")
    boot = seeded.run("cat /proc/sys/kernel/random/boot_id")
    seeded.run("systemctl reboot", check=False)
    seeded.guest.hang_up()
    ask = "cat /proc/sys/kernel/random/boot_id"
    until(lambda: seeded.run(ask, check=False) not in ("", boot), "it boots again", BOOT_S, 1)
    seeded.await_whole()
    status = json.loads(seeded.run("applctl status --json"))
    assert {worker["concurrency"] for worker in status["workers"]} == {3}
    assert seeded.run("cat /etc/ssh/ssh_host_*.pub /etc/machine-id") == keys
    assert use(seeded.endpoint, TOKEN).title == "A page of the client's"


def test_it_says_what_share_of_the_boot_is_its_own(seeded: Machine, measured: Measured) -> None:
    ours = "systemctl show playwright-appliance -P ExecMainStartTimestampMonotonic -P InactiveExitTimestampMonotonic"
    stamps = [int(stamp) / 1e6 for stamp in seeded.run(ours).split()]
    ready = seeded.run("journalctl -b -o short-monotonic -u playwright-appliance-welcome | grep ready")
    ready_s = float(re.findall(r"^\[ *([\d.]+)\].*: ready$", ready, re.MULTILINE)[-1])
    measured["from the kernel's start to the appliance's, in seconds"] = round(min(stamps))
    measured["from the appliance's start to ready, in seconds"] = round(ready_s - min(stamps))
    assert ready_s > min(stamps)


def test_poweroff_ends_it_cleanly(seeded: Machine) -> None:
    seeded.run("systemctl poweroff", check=False)
    seeded.await_off()
