"""`applctl run`, `screenshot` and `bench` where no grid is needed: their errors, and what a script is given."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli.application import main
from appliance.cli.bench import Spread
from appliance.cli.client import shown, with_parameters
from appliance.cli.run import NAMES

NOBODY = "ws://any:secret@localhost:1/?token=secret"  # nothing listens there


def applctl(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="applctl")


def run(*words: str, token: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command as `applctl run` does, in a process whose output is the command's, too."""
    command = [sys.executable, "-c", "from appliance.cli import main; main()", "run", "--url", "ws://grid:8080", *words]
    environment = os.environ | ({"APPLCTL_TOKEN": token} if token else {})
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_run_gives_any_command_the_endpoint_with_the_token_in_it() -> None:
    script = f"import json, os; print(json.dumps([os.environ[name] for name in {NAMES}]))"
    assert json.loads(run("--", sys.executable, "-c", script).stdout) == 2 * ["ws://grid:8080"]
    with_token = run("--", sys.executable, "-c", script, token="a+b/c").stdout
    assert json.loads(with_token) == 2 * ["ws://grid:8080/?token=a%2Bb%2Fc"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--", "sh", "-c", "exit 9"], 9, ""),
        (["--", "sh", "-c", "kill -KILL $$"], 137, ""),
        (["no-such-command"], 127, "There is no command no-such-command."),
        ([os.devnull], 126, f"{os.devnull} cannot be run: "),
    ],
)
def test_run_exits_as_shells_do(words: list[str], code: int, said: str) -> None:
    done = run(*words)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stderr


def test_what_ends_a_terminal_ends_no_script_below_nohup() -> None:
    script = "import os, signal; os.kill(os.getppid(), signal.SIGHUP); print(signal.getsignal(signal.SIGHUP).name)"
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        done = run("--", sys.executable, "-c", script)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (done.returncode, done.stdout) == (0, "SIG_IGN\n")


@pytest.mark.parametrize("command", ["bench", "screenshot http://localhost/ {folder}/page.png"])
def test_a_grid_that_is_not_there_is_named_without_its_secrets(command: str, tmp_path: Path) -> None:
    done = applctl(*command.format(folder=tmp_path).split(), "--url", NOBODY)
    assert done.exit_code == 1
    assert "the session through ws://localhost:1/ failed: " in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("screenshot example.org page.png", "like https://example.org"),
        ("screenshot https://example.org page.gif", "must end in .png, .jpg, .jpeg"),
        ("screenshot https://example.org /nowhere/page.png", "there is no folder /nowhere"),
        ("screenshot --browser opera https://example.org page.png", "'chromium', 'firefox', 'webkit'"),
        ("bench --isolation none", "'context', 'browser', 'both'"),
        ("bench --url ftp://grid", "must be like ws://HOST:PORT"),
    ],
)
def test_a_wrong_argument_is_refused_before_a_session_begins(command: str, said: str) -> None:
    done = applctl(*command.split())
    assert (done.exit_code, said in done.stderr) == (2, True), done.stderr


def test_parameters_replace_those_that_an_url_has() -> None:
    assert with_parameters("ws://grid?token=t&name=x", {"name": "y z"}) == "ws://grid/?token=t&name=y+z"
    assert shown("wss://any:t@grid:1/?token=t") == "wss://grid:1/"


def test_the_spread_of_times() -> None:
    spread = Spread.of([number / 1000 for number in range(1, 101)])
    assert spread == Spread(50.5, 96.0, 100.0)
    assert Spread.of([]) is None
