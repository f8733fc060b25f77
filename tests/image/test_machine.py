"""The image with user data: what runs on the machine, as whom, what it lets through, and what it keeps."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.image import seed
from tests.image.machine import BOOT_S, SITE, STEP_S, Machine
from tests.image.session import use
from tests.waiting import until

TOKEN = "a-token-from-user-data"
SETTINGS = {"APPLIANCE_TOKEN": TOKEN, "CHROMIUM_WORKERS": 2, "SPARE_WORKERS": 0}
MAX_IDLE_MIB = 900

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def machine(make_machine: Callable[..., Machine], folder: Path) -> Machine:
    content = {"user-data": seed.user_data(folder, SETTINGS), "meta-data": seed.meta_data("seeded")}
    drive = seed.make_drive(folder / "seeded.iso", "cidata", content)
    machine = make_machine("seeded", drives=[drive], memory_mib=3072)
    machine.guest.await_login(BOOT_S)
    await_ready(machine)
    return machine


def await_ready(machine: Machine) -> None:
    """Wait until all workers are registered: `applctl status` exits with 0."""
    until(lambda: "yes" in run(machine, "applctl status >/dev/null && echo yes", check=False), "it is whole", BOOT_S, 1)


def run(machine: Machine, command: str, *, check: bool = True) -> str:
    return machine.guest.run(command, within_s=STEP_S, check=check)


def setting(machine: Machine, name: str) -> Any:
    settings = json.loads(run(machine, "applctl config --json"))
    return next(one["value"] for one in settings if one["name"] == name)


def test_user_data_gives_settings_token_and_name(machine: Machine) -> None:
    assert setting(machine, "CHROMIUM_WORKERS") == 2
    assert setting(machine, "APPLIANCE_NAME") == "seeded"
    assert setting(machine, "HOST") == "0.0.0.0"
    assert use(machine.endpoint, TOKEN, site=SITE).title == "A page outside"


def test_all_services_run(machine: Machine) -> None:
    assert run(machine, "systemctl --failed --plain --no-legend") == ""
    wanted = "playwright-appliance ssh systemd-timesyncd systemd-resolved"
    assert run(machine, f"systemctl is-active {wanted}").split() == ["active"] * 4
    assert run(machine, "systemctl is-enabled redis-server apt-daily.timer", check=False).split() == [
        "disabled",
        "masked",
    ]


def test_only_ssh_and_the_endpoint_listen_beyond_loopback(machine: Machine) -> None:
    rows = [line.split() for line in run(machine, "ss -Hltun").splitlines()]
    open_to_all = {(row[0], row[4].rpartition(":")[2]) for row in rows if not re.match(r"127\.|\[::1\]", row[4])}
    assert open_to_all - {("udp", "68"), ("udp", "546")} == {("tcp", "22"), ("tcp", "8080")}  # 68, 546: DHCP's client


def test_each_process_has_its_account(machine: Machine) -> None:
    rows = [line.split(None, 1) for line in run(machine, "ps -eo user:20,args --no-headers").splitlines()]
    users = {
        mark: {user for user, args in rows if mark in args}
        for mark in ("supervisord", "redis-server", "-m proxy", "-m workers", "launch-server", "--type=renderer")
    }
    assert users == {
        "supervisord": {"root"},
        "redis-server": {"appliance"},
        "-m proxy": {"appliance"},
        "-m workers": {"browser"},
        "launch-server": {"browser"},
        "--type=renderer": {"browser"},
    }


def test_the_sandbox_is_on_and_the_doctor_finds_nothing(machine: Machine) -> None:
    assert "--no-sandbox" not in run(machine, "ps -eo args")
    assert "no_sandbox" not in run(machine, "cat /var/lib/playwright-appliance/log/chromium-*.log")
    checks = json.loads(run(machine, "applctl doctor --json", check=False))
    assert [check for check in checks["checks"] if check["status"] != "ok"] == []


def test_nothing_of_the_build_is_left(machine: Machine) -> None:
    assert run(machine, "getent passwd packer; ls /home", check=False) == "debian"
    assert run(machine, "grep -rls packer /etc /root /home /var/lib/cloud /var/log /var/spool", check=False) == ""
    assert run(machine, "ls -A /tmp/payload /root/.ssh/authorized_keys /var/lib/apt/lists", check=False) == ""
    assert run(machine, "ls /usr/sbin/policy-rc.d /opt/playwright-appliance/wheels", check=False) == ""
    assert run(machine, "find /etc/ssh -name 'ssh_host_*' -not -newer /etc/machine-id") == ""


def test_the_kernel_gives_what_browsers_need(machine: Machine) -> None:
    names = "kernel.unprivileged_userns_clone kernel.yama.ptrace_scope"
    assert run(machine, f"sysctl -n {names}").split() == ["1", "1"]
    assert int(run(machine, "df --output=size -BM /dev/shm | tail -n 1").rstrip("M")) >= 1024
    limits = run(machine, "grep 'open files' /proc/$(pgrep -of 'm proxy')/limits").split()
    assert int(limits[3]) >= 1_000_000


def test_letters_of_the_world_and_emoji_have_fonts(machine: Machine) -> None:
    for language, family in {"en": "Liberation", "zh": "CJK", "ja": "CJK", "ko": "CJK", "und-zsye": "Emoji"}.items():
        assert family in run(machine, f"fc-match -f '%{{family}}' sans:lang={language}")


def test_an_idle_appliance_with_two_warm_workers_needs_little_memory(machine: Machine, record_property: Record) -> None:
    used = run(machine, r"awk '/MemTotal/{t=$2} /MemAvailable/{a=$2} END{print int((t-a)/1024)}' /proc/meminfo")
    record_property("memory of the idle machine, in MiB", used)
    assert int(used) <= MAX_IDLE_MIB


def test_the_login_message_shows_state_and_endpoint_but_no_token(machine: Machine) -> None:
    message = machine.guest.login_message()
    assert "ready" in message
    assert "ws://203.0.113.15:8080" in message
    assert TOKEN not in message


def test_the_token_is_in_no_log_and_only_root_reads_it(machine: Machine) -> None:
    assert run(machine, f"journalctl | grep -c {TOKEN}", check=False) == "0"
    assert run(machine, f"grep -rls {TOKEN} /var/log /var/lib/playwright-appliance", check=False) == ""
    assert run(machine, f"runuser -u browser -- grep -rls {TOKEN} /etc /run /var /proc", check=False) == ""
    assert TOKEN not in machine.console.read_text(errors="replace")


@pytest.mark.parametrize("mark", ["supervisor.supervisord", "redis-server", "-m proxy", "-m workers", "launch-server"])
def test_what_is_killed_comes_back(machine: Machine, mark: str) -> None:
    before = run(machine, f"pgrep -f -- '{mark}'").split()
    run(machine, f"kill -9 {before[0]}")
    until(lambda: before[0] not in run(machine, f"pgrep -f -- '{mark}'", check=False).split(), "it is gone", STEP_S)
    await_ready(machine)
    assert len(run(machine, f"pgrep -f -- '{mark}'").split()) == len(before)


def test_settings_and_host_keys_outlive_a_reboot(machine: Machine) -> None:
    keys = run(machine, "cat /etc/ssh/ssh_host_*.pub /etc/machine-id")
    run(machine, "applctl config set MAX_CONCURRENT_SESSIONS=3")
    boot = run(machine, "cat /proc/sys/kernel/random/boot_id")
    run(machine, "systemctl reboot", check=False)
    machine.guest.hang_up()
    ask = "cat /proc/sys/kernel/random/boot_id"
    until(lambda: run(machine, ask, check=False) not in ("", boot), "it boots again", BOOT_S, 1)
    await_ready(machine)
    status = json.loads(run(machine, "applctl status --json"))
    assert {worker["concurrency"] for worker in status["workers"]} == {3}
    assert run(machine, "cat /etc/ssh/ssh_host_*.pub /etc/machine-id") == keys
    assert use(machine.endpoint, TOKEN).title == "A page of the client's"


def test_it_says_what_share_of_the_boot_is_its_own(machine: Machine, record_property: Record) -> None:
    ours = "systemctl show playwright-appliance -P ExecMainStartTimestampMonotonic -P InactiveExitTimestampMonotonic"
    stamps = [int(stamp) / 1e6 for stamp in run(machine, ours).split()]
    ready = run(machine, "journalctl -b -o short-monotonic -u playwright-appliance-welcome | grep ready")
    ready_s = float(re.findall(r"\[ *([\d.]+)\]", ready)[-1])
    record_property(
        "boot: until the appliance's unit starts, and until it is ready, in seconds", [min(stamps), ready_s]
    )
    assert ready_s > min(stamps)


def test_poweroff_ends_it_cleanly(machine: Machine) -> None:
    run(machine, "systemctl poweroff", check=False)
    machine.await_off()
