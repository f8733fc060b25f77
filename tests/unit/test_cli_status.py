"""What `applctl status`, `workers list` and `doctor` print, on narrow and on wide terminals."""

from __future__ import annotations

import importlib
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from appliance.checks import Check
from appliance.checks.firewall import check_firewall
from appliance.checks.fonts import check_fonts
from appliance.checks.view import GridView
from appliance.cli import welcome
from appliance.cli.application import main
from appliance.cli.log_lines import parse, print_record
from appliance.cli.output import Output
from appliance.cli.session_tables import sessions_table
from appliance.cli.status import shown
from appliance.grid.records import PoolCapacity, WorkerInfo
from appliance.grid.story import Story
from appliance.machine.addresses import endpoint_for_others
from appliance.machine.supervisor import ProcessInfo
from appliance.settings.config import Settings

REASON = "grew to 2345 MiB of memory, past WORKER_MAX_MEMORY"
WORKER = WorkerInfo(
    id="grid-1.chromium-00.abcdef",
    browser="chromium",
    version="1.65.1",
    appliance="grid-1",
    name="chromium-00",
    status="available",
    active=3,
    lifetime=17,
    concurrency=5,
    quota=50,
    started_ms=int((time.time() - 320_000) * 1000),
    heartbeat_ms=0,
    pid=7,
    memory_bytes=2**28,
    suspect=False,
    stale=False,
)


@pytest.fixture(autouse=True)
def own_settings(settings_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUN_DIR", str(tmp_path / "run"))


@pytest.fixture
def view() -> GridView:
    """Provide a grid of two workers, one of which drains."""
    draining = replace(WORKER, id="grid-1.chromium-01.abcdef", name="chromium-01", status="draining", reason=REASON)
    names = ("chromium-00", "chromium-01", "proxy", "redis")
    return GridView(
        Settings(host="0.0.0.0", chromium_workers=2, spare_workers=0),
        supervisor_pid=1,
        processes=[ProcessInfo(name, name, "RUNNING", 7, 100_000) for name in names],
        workers=[WORKER, draining],
        pools=[PoolCapacity("chromium", "1.65", {"standby": 1, "available": 1, "draining": 1}, 5, 3, 2, 0)],
        proxy_answers=True,
        ready=True,
    )


@pytest.mark.parametrize("columns", [80, 140])
def test_status_is_a_table_for_each_subject_that_fits(
    columns: int, view: GridView, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    Output().show(shown(view))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    heads = [line.split()[0] for line, before in zip(lines[1:], lines, strict=False) if not before.strip()]
    assert heads == ["Process", "Pool", "Worker"]
    text = "\n".join(lines)
    assert text.count("chromium-00") == 1, "a worker is in one table"
    assert all(word in text for word in REASON.split()), "it says why a worker drains"


def test_states_have_colours_on_a_terminal(
    view: GridView, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    Output().show(shown(view))
    text = capsys.readouterr().out
    assert "\x1b[32mavailable" in text
    assert "\x1b[33mdraining" in text


def test_the_endpoint_for_others_is_printed_where_all_addresses_are_open(view: GridView) -> None:
    settings = Settings(host="0.0.0.0", port=9000)
    for_others = endpoint_for_others(settings)
    assert re.fullmatch(r"|ws://(?!127\.)[\d.]+:9000", for_others), "a machine without a network has none"
    assert endpoint_for_others(Settings(host="127.0.0.1")) == ""
    text = welcome.text(settings.endpoint, "chromium", "1.65", for_others="ws://10.0.0.5:9000", wants_token=False)
    assert re.search(r"^From elsewhere: +ws://10\.0\.0\.5:9000$", text, re.MULTILINE)


def test_doctor_wraps_at_words(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = "Browsers cannot write into a folder that belongs to somebody else, wherever it lies on this machine."
    checks = [Check("disk", "failed", f"no room {n}: {sentence}", f"Make room {n}. {sentence}") for n in range(3)]
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(importlib.import_module("appliance.cli.doctor"), "examine", lambda: iter(checks))
    lines = CliRunner().invoke(main, ["doctor"]).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    printed = " ".join(" ".join(lines).split())
    assert all(check.remedy in printed for check in checks)


def test_doctor_checks_fonts_videos_pid_1_the_firewall_and_the_disk() -> None:
    checks = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)
    assert {"fonts", "ffmpeg", "PID 1", "firewall", "disk"} <= {check["name"] for check in checks}


@pytest.fixture
def fc_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide the path of the only program that is found."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin" / "fc-list"


def fonts() -> Check:
    (check,) = check_fonts(Settings())
    return check


def test_doctor_names_the_scripts_that_have_no_font(fc_list: Path) -> None:
    fc_list.write_text('#!/bin/sh\ncase "$1" in :lang=en) echo Liberation Sans;; *zsye*) echo Emoji;; esac\n')
    fc_list.chmod(0o755)
    check = fonts()
    assert (check.status, check.finding.partition(":")[0]) == ("warning", "no font for Chinese, Japanese, Korean")
    assert check.remedy == "As root: apt-get install fonts-noto-cjk"
    fc_list.write_text("#!/bin/sh\necho Some font\n")
    assert fonts().status == "ok"


def test_doctor_says_that_it_cannot_look_for_fonts_without_fontconfig(fc_list: Path) -> None:
    assert (fonts().status, fonts().remedy) == ("warning", "As root: apt-get install fontconfig")


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1", "ok"), ("0.0.0.0", "warning")])
def test_doctor_warns_of_a_grid_for_others_without_a_firewall(host: str, status: str) -> None:
    (check,) = check_firewall(Settings(host=host))
    assert (check.status, "private networks" in check.finding) == (status, True)


def test_sessions_are_a_line_each_on_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    request = {"id": "bc984efbfeb778ea", "browser": "chromium", "minor": "1.65", "proxy": "grid-1.abcdef"}
    request |= {"client": "192.168.100.200", "user_agent": "", "name": "nightly"}
    fields = {"request": json.dumps(request), "status": "active", "worker": "grid-1.chromium-00.abcdef", "started": "0"}
    active = Story.parse(fields)
    waiting = replace(active, id="cc984efbfeb778ea", status="waiting", worker="")
    Output().show(sessions_table([active, waiting], 7_500_000, "grid-1"))
    head, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["bc984efbfeb778ea", "active", "chromium-00"],
        ["cc984efbfeb778ea", "waiting", "(chromium)"],
    ]
    assert max(map(len, [head, *lines])) <= 80


def test_on_a_terminal_a_long_log_line_goes_on_below_its_beginning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"COLUMNS": "80", "FORCE_COLOR": "1", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    line = f"timestamp=2026-11-28T16:21:38.630090Z level=info event=session.ended reason={60 * 'x'}"
    record = parse("proxy", line)
    assert record
    print_record(record, Output())
    first, second, *_ = click.unstyle(capsys.readouterr().out).splitlines()
    assert first.index("session.ended") == len(second) - len(second.lstrip()) == 26
