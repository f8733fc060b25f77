"""The command line: its help, its errors, its exit codes."""

import fcntl
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from appliance import __version__
from appliance.checks.running import check_changes, check_pools_alike, check_workers, check_workspaces
from appliance.checks.view import GridView
from appliance.cli.appliances import appliances_table
from appliance.cli.application import main
from appliance.cli.output import Output, console
from appliance.cli.up import say_what_runs
from appliance.grid.records import ApplianceInfo, ApplianceStatus
from appliance.machine import pool_file
from appliance.machine.addresses import endpoint_for_others
from appliance.machine.record import Record, record_of
from appliance.run_dir import RunDir
from appliance.settings.config import Settings
from appliance.settings.redis_url import mask
from tests.support.audited import WORKER


@pytest.fixture(autouse=True)
def own_settings(settings_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of this machine's, and a RUN_DIR in which nothing runs."""
    monkeypatch.setenv("RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("COLUMNS", "200")


def applctl(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="applctl")


def test_monitoring_writes_its_files_and_replaces_none_that_was_edited(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    for _ in range(2):
        assert applctl("monitoring", str(folder)).exit_code == 0
    assert {file.name for file in folder.iterdir()} == {"alerts.yml", "grafana.json", "prometheus.yml"}
    (folder / "prometheus.yml").write_text("edited")
    result = applctl("monitoring", str(folder))
    assert result.exit_code == 1
    assert "prometheus.yml is there already" in result.output
    assert (folder / "prometheus.yml").read_text() == "edited"


def test_alone_it_gives_an_overview_of_all_commands() -> None:
    result = applctl()
    assert result.exit_code == 0
    for name in main.commands:
        assert f"\n  {name} " in result.output
    assert "..." not in result.output.partition("Commands:")[2], "a summary is cut off"


@pytest.mark.parametrize("name", list(main.commands))
def test_the_help_of_every_command_has_an_example(name: str) -> None:
    result = applctl(name, "-h")
    assert result.exit_code == 0
    assert f"\n    applctl {name}" in result.output


def examples() -> list[str]:
    """Return the command lines of applctl that are examples in its help."""
    commands, found = [main], []
    while commands:
        command = commands.pop()
        commands += command.commands.values() if isinstance(command, click.Group) else []  # type: ignore[arg-type]
        lines = (command.epilog or "").partition("Examples:")[2].splitlines()
        found += [re.split(r" \|| &&| 2>", line.partition("applctl ")[2])[0] for line in lines if "applctl " in line]
    return found


@pytest.mark.parametrize("example", sorted(set(examples())))
def test_an_example_in_a_help_text_is_a_command_line_that_is_understood(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "appliance.tar").touch()
    arguments, command = shlex.split(example, comments=True), main
    context = click.Context(main, info_name="applctl", **main.context_settings)
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        name, command, arguments = command.resolve_command(context, arguments)  # type: ignore[assignment]
        context = click.Context(command, parent=context, info_name=name)
    assert command.make_context(context.info_name, arguments, parent=context.parent)


def test_it_tells_its_version() -> None:
    assert __version__ in applctl("--version").output


def test_a_command_that_only_groups_have_is_found_there() -> None:
    result = applctl("drain", "chromium-00")
    assert result.exit_code == 2
    assert "Did you mean: applctl workers drain, applctl appliance drain?" in result.stderr


def test_the_completion_of_such_a_command_is_no_error() -> None:
    asking = {"_APPLCTL_COMPLETE": "bash_complete", "COMP_WORDS": "applctl drain ", "COMP_CWORD": "2"}
    result = CliRunner().invoke(main, [], prog_name="applctl", env=asking)
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_wrong_command_line_exits_with_2() -> None:
    assert applctl("dance").exit_code == 2
    assert applctl("status", "--wrong").exit_code == 2


def test_wrong_settings_are_one_clear_error_that_names_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "none")
    monkeypatch.setenv("MAX_CONCURRENT_SESSIONS", "0")
    result = applctl("up")
    assert result.exit_code == 1
    assert "PORT: " in result.stderr
    assert "MAX_CONCURRENT_SESSIONS: " in result.stderr
    assert "Traceback" not in result.output


def test_status_exits_with_3_when_nothing_runs() -> None:
    assert applctl("status").exit_code == 3
    result = applctl("status", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["running"] is False


def test_down_is_harmless_when_nothing_runs() -> None:
    result = applctl("down")
    assert result.exit_code == 0
    assert "was not running" in result.output


# What needs a running grid, with arguments that would be right.
NEED_A_GRID = [
    *("demo", "logs", "logs proxy", "restart proxy", "workers list", "workers drain --all", "sessions list"),
    *("sessions kill --all", "appliances", "appliance drain", "appliance undrain"),
    *("screenshot https://example.org page.png", "run script.py", "bench"),
]


@pytest.mark.parametrize("command", NEED_A_GRID)
def test_without_a_grid_a_command_says_that_it_is_not_running(command: str) -> None:
    sentence = "The appliance is not running. Start it with `applctl up`."
    result = applctl(*command.split())
    assert (result.exit_code, result.stdout, result.stderr) == (3, "", f"Error: {sentence}\n")
    as_json = applctl(*command.split(), "--json")
    assert as_json.exit_code == 3
    assert json.loads(as_json.stdout) == {"error": {"message": sentence, "hint": ""}}


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Provide all commands that do something, with their words."""
    for name, one in group.commands.items():
        if isinstance(one, click.Group):
            yield from leaves(one, (*path, name))
        else:
            yield (*path, name), one


@pytest.mark.parametrize(("words", "one"), [pytest.param(*leaf, id=" ".join(leaf[0])) for leaf in leaves(main)])
def test_every_command_has_json_and_a_short_summary(words: tuple[str, ...], one: click.Command) -> None:
    shown = " ".join(applctl(*words, "-h").stdout.split())
    assert "--json Print machine-readable JSON; messages go to stderr." in shown
    assert not one.get_short_help_str(62).endswith("..."), "it does not fit on 80 columns"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("restart --wrong", "No such option '--wrong'"),
        ("sessions kill", "Name sessions by their ids, or use --all."),
        ("config get PRT", "unknown setting PRT; did you mean PORT?"),
    ],
)
def test_with_json_every_error_is_json(command: str, said: str) -> None:
    result = applctl(*command.split(), "--json")
    assert said in json.loads(result.stdout)["error"]["message"]
    assert said in result.stderr


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("start", "up"), ("stop", "down"), ("ps", "status"), ("staus", "status"), ("config lst", "config list")],
)
def test_an_unknown_command_suggests_the_one_that_is_meant(typed: str, meant: str) -> None:
    result = applctl(*typed.split())
    assert (result.exit_code, f"Did you mean: applctl {meant}" in result.stderr) == (2, True)


def test_version_tells_which_clients_are_served() -> None:
    assert json.loads(applctl("version", "--json").stdout)["appliance"] == __version__
    assert "for clients of version 1." in applctl("version").stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_help_says_how_to_complete_in_each_shell(shell: str) -> None:
    assert f"_APPLCTL_COMPLETE={shell}_source applctl" in applctl("-h").stdout


def test_settings_are_completed() -> None:
    asking = {"_APPLCTL_COMPLETE": "bash_complete", "COMP_WORDS": "applctl config get drain_", "COMP_CWORD": "3"}
    result = CliRunner().invoke(main, [], prog_name="applctl", env=asking)
    assert result.stdout.split() == ["plain,DRAIN_TIMEOUT", "plain,DRAIN_NOTICE"]


def test_an_unknown_log_names_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM_WORKERS", "2")
    monkeypatch.setenv("SPARE_WORKERS", "0")
    result = applctl("logs", "chromium-99")
    assert result.exit_code == 1
    assert "chromium-00, chromium-01, mcp, proxy, redis, supervisord" in result.stderr


def test_config_names_the_source_of_every_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "appliance.env").write_text("PORT=9000\nHOST=127.0.0.2\n")
    monkeypatch.setenv("PORT", "9001")
    settings = {setting["name"]: setting for setting in json.loads(applctl("config", "--json").stdout)}
    assert settings.keys() == {name.upper() for name in Settings.model_fields}
    assert (settings["PORT"]["value"], settings["PORT"]["source"]) == (9001, "environment")
    assert (settings["HOST"]["value"], settings["HOST"]["source"]) == ("127.0.0.2", "file")
    assert settings["LOG_LEVEL"]["source"] == "default"
    assert all(setting["description"] for setting in settings.values())


def test_config_explains_those_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9000")
    lines = applctl("config", "explain", "port", "DRAIN_NOTICE").stdout.splitlines()
    assert lines[0] == "PORT=9000  (environment)"
    assert "DRAIN_NOTICE=10.0  (default)" in lines
    assert lines[1] == "    Port that the proxy listens on."
    wrong = applctl("config", "explain", "PRT")
    assert (wrong.exit_code, "did you mean PORT?" in wrong.stderr) == (1, True)


def test_config_explains_the_settings_even_when_one_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "none")
    result = applctl("config")
    assert result.exit_code == 1
    assert "Port that the proxy listens on" in result.stdout
    assert "PORT: " in result.stderr


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("redis://user:secret@host/0", "redis://user:***@host/0"),
        ("redis://:se@cr/et@host", "redis://:***@host"),
        ("redis://host:6379/0?password=secret&x=1", "redis://host:6379/0?password=***&x=1"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        (["--proxy-server=http://u:secret@host"], ["--proxy-server=http://u:***@host"]),
        (5, 5),
    ],
)
def test_passwords_are_not_shown(value: object, shown: object) -> None:
    assert mask(value) == shown


@pytest.mark.parametrize("port", ["8080", "none"])
def test_config_does_not_show_the_token(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_TOKEN", "secret-0123456789")
    monkeypatch.setenv("PORT", port)  # of settings that are wrong, the text is shown as it was set
    for result in (applctl("config"), applctl("config", "--json"), applctl("config", "get", "APPLIANCE_TOKEN")):
        assert "secret-" not in result.output
    assert "secret-" not in applctl("doctor").output
    assert "APPLIANCE_TOKEN=***" in applctl("config").stdout


def test_a_token_made_before_the_first_start_lets_the_grid_listen_beyond_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOST", "0.0.0.0")
    assert "applctl token create" in applctl("config", "check").stderr
    made = applctl("token", "create", "ci")
    (token,) = made.stdout.split()
    endpoint = endpoint_for_others(Settings(host="0.0.0.0")) or "ws://localhost:8080"
    assert f"{endpoint}/?token={token}" in made.stderr
    assert applctl("status").exit_code == 3  # not running, and nothing is wrong
    file = tmp_path / "run" / "tokens.json"
    assert token not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_tokens_of_a_grid_that_does_not_run_are_made_listed_and_revoked() -> None:
    for name in ("ci", "laptop"):
        assert applctl("token", "create", name).exit_code == 0
    taken = applctl("token", "create", "ci")
    assert (taken.exit_code, taken.stdout) == (1, "")
    assert "there is a token ci already" in taken.stderr
    unknown = applctl("token", "revoke", "laptop", "cd")
    assert unknown.exit_code == 1
    assert "no token cd" in unknown.stderr
    assert "The grid's tokens: ci, laptop." in unknown.stderr
    assert "can connect" not in applctl("token", "revoke", "ci").output
    assert [one["name"] for one in json.loads(applctl("token", "list", "--json").stdout)] == ["laptop"]
    assert "only root and the appliance's own account can connect" in applctl("token", "revoke", "laptop").output
    assert applctl("token", "create", "ci").exit_code == 0


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a/b", "ci\n"])
def test_a_name_that_no_token_can_have_is_a_wrong_command_line(name: str) -> None:
    assert applctl("token", "create", name).exit_code == 2


def test_doctor_goes_on_after_a_failure_and_exits_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM_EXECUTABLE", "/nowhere")
    result = applctl("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(result.stdout)}
    assert result.exit_code == 1
    assert checks["chromium"]["status"] == "failed"
    assert "CHROMIUM_EXECUTABLE" in checks["chromium"]["remedy"]
    assert checks["driver"]["status"] == "ok"
    assert checks["supervisord"]["status"] == "warning"


def test_doctor_says_what_is_wrong_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "0")
    result = applctl("doctor")
    assert result.exit_code == 1
    assert "PORT: " in result.output


def test_every_failed_or_doubtful_check_says_how_to_mend_it() -> None:
    checks = json.loads(applctl("doctor", "--json").stdout)
    assert all(bool(check["remedy"]) == (check["status"] != "ok") for check in checks)


@pytest.mark.parametrize("command", ["config", "doctor"])
def test_a_misspelt_setting_in_the_file_is_pointed_out(command: str, tmp_path: Path) -> None:
    (tmp_path / "appliance.env").write_text("CHROMIUM_WORKER=7\n")
    output = applctl(command).output
    assert "CHROMIUM_WORKER in" in output
    assert "CHROMIUM_WORKERS" in output.partition("CHROMIUM_WORKER in")[2]


def test_doctor_tells_the_settings_that_run_from_those_of_here() -> None:
    started = Settings(port=9000, redis_url="redis://:secret@h", headless=True)
    (check,) = check_changes(Settings(port=8080, redis_url="redis://:secret@g", headless=True), started)
    assert "PORT=9000 (here 8080)" in check.finding
    assert "REDIS_URL=redis://:***@h (here redis://:***@g)" in check.finding
    assert "HEADLESS" not in check.finding
    assert "applctl restart" in check.remedy


def test_doctor_knows_that_the_pools_were_changed_to_the_settings_of_here(tmp_path: Path) -> None:
    (tmp_path / "workers").mkdir()
    started, now = (Settings(run_dir=tmp_path, chromium_workers=count, pools="") for count in (2, 3))
    pool_file.write(now)
    assert [check.status for check in check_changes(now, started)] == ["ok"]
    (check,) = check_changes(started, now)
    assert "CHROMIUM_WORKERS=3 (here 2)" in check.finding


def test_doctor_warns_of_appliances_whose_workers_of_one_pool_differ() -> None:
    here = replace(WORKER, isolation="context", channel="chromium")
    there = replace(here, appliance="there", id="there.chromium-00.abc", isolation="browser", concurrency=7)
    silent = replace(there, appliance="older", isolation="", concurrency=here.concurrency)
    view = GridView(Settings(), workers=[here], other_workers=[silent, replace(there, version="1.62.0")])
    assert not list(check_pools_alike(view)), "an earlier release does not tell, and another version is another pool"
    view.other_workers = [there]
    found = [check.finding for check in check_pools_alike(view)]
    assert found == [
        "appliances differ in isolation of chromium 1.65 (here: context, there: browser)",
        "appliances differ in max_concurrent_sessions of chromium 1.65 (here: 2, there: 7)",
    ]


def test_up_says_that_what_runs_was_started_with_other_settings(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output()
    say_what_runs(Settings(port=8080), Settings(port=8080), out)
    assert "PORT" not in capsys.readouterr().out
    say_what_runs(Settings(port=8080), Settings(port=9000), out)
    said = capsys.readouterr().out
    assert "The running appliance uses different settings from this shell: PORT=9000 (here 8080)" in said
    assert "applctl restart" in said


@pytest.mark.parametrize(("drained", "status"), [(True, "warning"), (False, "failed")])
def test_doctor_expects_the_workers_of_a_drained_appliance_to_be_on_their_way(
    drained: bool, status: str, tmp_path: Path
) -> None:
    settings = Settings(run_dir=tmp_path, chromium_workers=1)
    record_of(settings).keep(Record("a run", drained))
    (check,) = check_workers(GridView(settings, supervisor_pid=1))
    assert check.status == status


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another account")
def test_status_of_another_accounts_appliance_does_not_say_that_it_is_not_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("APPLIANCE_ENV", os.devnull)
    assert applctl("status").exit_code == 3
    os.seteuid(65534)
    try:
        result = applctl("status")
    finally:
        os.seteuid(0)
    assert result.exit_code == 1
    assert f"this account may not look into {tmp_path / 'run'}" in result.stderr
    assert "not running" not in result.output


def test_a_table_of_appliances_fits_80_columns_with_endpoints_that_can_be_copied(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    draining = ApplianceInfo("grid-1", ApplianceStatus.DRAINING, "ws://10.0.0.11:8080", versions=["1.65.0"], proxies=1)
    gone = ApplianceInfo("grid-2", endpoint="ws://10.0.0.12:8080", versions=["1.62.0", "1.65.0"])
    console().print(appliances_table([draining, gone]), soft_wrap=False)
    shown = capsys.readouterr().out
    assert all(f" {word} " in shown for word in ("Playwright", "draining", "away", draining.endpoint, gone.endpoint))


def test_doctor_names_the_folders_that_workers_have_left(tmp_path: Path) -> None:
    view = GridView(Settings(run_dir=tmp_path))
    folder = view.settings.paths.worker("here.chromium-00.0a1b2c")
    folder.mkdir(parents=True)
    with RunDir.lock_in(folder).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert [check.status for check in check_workspaces(view)] == ["ok"]
    (check,) = check_workspaces(view)
    assert (check.status, str(folder) in check.remedy) == ("warning", True)


def test_a_command_answers_to_its_former_name_which_is_not_listed() -> None:
    assert applctl("guard", "show", "-h").stdout.startswith("Usage: applctl firewall show")
    assert "guard" not in applctl("-h").stdout


def test_its_parts_can_be_imported_in_a_thread() -> None:
    load = "submit(__import__, 'appliance.cli.application').result()"
    program = f"from concurrent.futures import ThreadPoolExecutor; ThreadPoolExecutor().{load}"
    subprocess.run([sys.executable, "-c", program], check=True)
