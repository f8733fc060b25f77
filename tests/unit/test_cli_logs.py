"""Logs are read as they are written, across their rotation, and are shown as one."""

import functools
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli.application import main
from appliance.cli.log_files import LogFile
from appliance.cli.log_lines import parse

PROXY = r"""timestamp=2026-11-28T16:21:38.630090Z level=info event=proxy.started port=1 why="it's \"on\""
"""
REDIS = """\
7:C 28 Nov 2026 16:21:37.168 # oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo
7:C 28 Nov 2026 16:21:37.168 # Redis version=7.0.15, bits=64, commit=00000000, modified=0, pid=7, just started
7:M 28 Nov 2026 16:21:37.182 * The server is now ready to accept connections at /run/redis.sock
7:M 28 Nov 2026 16:21:38.700 # Error moving on
"""
SUPERVISORD = """\
2026-11-28 16:21:37,121 CRIT Supervisor is running as root.  Privileges were not dropped because no user is specified
2026-11-28 16:21:37,126 INFO RPC interface 'supervisor' initialized
2026-11-28 16:21:37,132 INFO spawned: 'redis' with pid 7
2026-11-28 16:21:38,800 WARN exited: redis (exit status 1; not expected)
"""
WORKER = (
    '{"event": "worker.ended", "level": "error", "timestamp": "2026-11-28T16:21:38.500000Z"}\n'
    "Traceback (most recent call last):\n"
)


@pytest.fixture
def logs(settings_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the logs of an earlier run, on a machine in UTC; returns their folder."""
    for name, value in {"RUN_DIR": str(tmp_path), "CHROMIUM_WORKERS": "1", "SPARE_WORKERS": "0", "TZ": "UTC"}.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "log"
    folder.mkdir()
    for name, text in {"proxy": PROXY, "redis": REDIS, "supervisord": SUPERVISORD, "chromium-00": WORKER}.items():
        (folder / f"{name}.log").write_text(text)
    return folder


def applctl(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["logs", *arguments])


def test_all_logs_are_merged_by_time_without_banners(logs: Path) -> None:
    result = applctl()
    assert result.stdout.splitlines() == [
        "16:21:37.132 supervisord  spawned: 'redis' with pid 7",
        "16:21:38.500 chromium-00  ERROR worker.ended",
        "16:21:38.500 chromium-00  ERROR Traceback (most recent call last):",
        r"""16:21:38.630 proxy        proxy.started port=1 why="it's \"on\"" """.rstrip(),
        "16:21:38.700 redis        WARNING Error moving on",
        "16:21:38.800 supervisord  WARNING exited: redis (exit status 1; not expected)",
    ]
    assert "The appliance is not running. These are the logs of its last run." in result.stderr


def test_the_last_lines_are_the_last_of_all_processes_together(logs: Path) -> None:
    assert [line.split()[1] for line in applctl("-n", "2").stdout.splitlines()] == ["redis", "supervisord"]
    assert [line.split()[1] for line in applctl("-n", "2", "proxy", "redis").stdout.splitlines()] == ["proxy", "redis"]


def test_with_json_each_line_is_an_object(logs: Path) -> None:
    first, *_, last = (json.loads(line) for line in applctl("--json").stdout.splitlines())
    assert first["process"] == "supervisord"
    assert last == {
        "time": "2026-11-28T16:21:38.800+00:00",
        "process": "supervisord",
        "level": "warning",
        "event": "exited: redis (exit status 1; not expected)",
    }


def test_logs_of_any_process_cannot_control_the_terminal(logs: Path) -> None:
    nasty = "\x1b[31m\x07\x7f\x9b2J\u2028\u202e"
    (logs / "proxy.log").write_text(PROXY + f'{PROXY.rstrip()} name="{nasty}"\n{nasty}\n')
    for options in ([], ["--json"]):
        shown = applctl(*options, "proxy").stdout
        assert shown.count("[31m") == 2
        assert shown.replace("\n", "").isprintable()
    assert json.loads(shown.splitlines()[-1])["event"] == nasty


@pytest.mark.parametrize("line", ["", "Traceback", "{", "[1]", '{"event": "no time"}', "timestamp=never event=x"])
def test_a_line_without_a_time_is_no_record_of_its_own(line: str) -> None:
    assert parse("proxy", line) is None


@pytest.mark.parametrize("command", [["logs", "--follow"], ["status", "--watch"], ["status", "--watch", "--json"]])
def test_ctrl_c_ends_what_goes_on_with_130_and_no_traceback(command: list[str], logs: Path) -> None:
    program = [sys.executable, "-c", "from appliance.cli import main; main()", *command]
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # which a test in the background ignores
    applctl = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed)
    try:
        assert applctl.stdout
        assert applctl.stdout.read(1), "it runs"
        applctl.send_signal(signal.SIGINT)
        _, said = applctl.communicate(timeout=30)
    finally:
        applctl.kill()
    assert applctl.returncode == 130
    assert b"Traceback" not in said


def test_the_last_lines_come_first_and_then_only_new_ones(tmp_path: Path) -> None:
    path = tmp_path / "proxy.log"
    path.write_text("1\n2\n3\n")
    log = LogFile(path)
    assert log.last(2) == ["2", "3"]
    with path.open("a") as writer:
        writer.write("4\nha")
        writer.flush()
        assert list(log.new()) == ["4"]
        writer.write("lf\n")
    assert list(log.new()) == ["half"]
    log.close()


def test_a_log_that_is_rotated_is_read_on_without_loss(tmp_path: Path) -> None:
    path = tmp_path / "proxy.log"
    path.write_text("1\n")
    log = LogFile(path)
    assert log.last(10) == ["1"]
    with path.open("a") as writer:
        writer.write("2\n")
    path.rename(tmp_path / "proxy.log.1")
    path.write_text("3\n")
    assert list(log.new()) == ["2", "3"]
    log.close()


def test_a_log_that_does_not_exist_yet_is_waited_for(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "redis.log")
    assert log.last(10) == []
    (tmp_path / "redis.log").write_text("here\n")
    assert list(log.new()) == ["here"]
    log.close()
