"""`applctl config set` and `unset` change the settings file, or leave it as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.checks.settings_file import check_settings_file
from appliance.cli.application import main
from appliance.settings import config


@pytest.fixture(autouse=True)
def file(settings_file: Path) -> Path:
    return settings_file


def applctl(*arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(main, ["config", *arguments], input=answer)


def test_a_setting_is_set_and_all_else_in_the_file_stays(file: Path) -> None:
    file.write_text("# ours\nport=9000 # was free\nexport QUEUE_TIMEOUT=7")
    file.chmod(0o640)
    assert applctl("set", "PORT=9001", "BROWSER_ARGS=--lang='de DE' --mute-audio").exit_code == 0
    assert file.read_text().startswith("# ours\n")
    assert file.stat().st_mode & 0o777 == 0o640
    settings = config.load()
    assert (settings.port, settings.queue_timeout) == (9001, 7)
    assert settings.browser_args == ["--lang=de DE", "--mute-audio"]


def test_a_file_that_is_changed_is_closed_to_other_users(file: Path) -> None:
    file.write_text("PORT=9000\n")
    file.chmod(0o644)
    assert applctl("set", "PORT=9001").exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o640


def test_doctor_warns_of_secrets_that_other_users_can_read(file: Path) -> None:
    file.write_text("PORT=9000\n")
    file.chmod(0o644)
    assert not list(check_settings_file(config.load()))
    file.write_text("appliance_token=0123456789abcdef\n")
    (check,) = check_settings_file(config.load())
    assert check.status == "warning"
    assert "holds APPLIANCE_TOKEN, and other users can read it" in check.finding
    file.chmod(0o640)
    assert not list(check_settings_file(config.load()))


def test_a_new_file_is_for_its_owner_alone(file: Path) -> None:
    assert applctl("set", "PORT=9001").exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_is_no_file_is_not_replaced_by_one(file: Path) -> None:
    os.mkfifo(file)
    result = applctl("set", "PORT=9001")
    assert (result.exit_code, "is not a file" in result.stderr) == (1, True)
    assert file.is_fifo()


def test_wrong_settings_are_refused_together_and_leave_the_file_as_it_was(file: Path) -> None:
    file.write_text("PORT=9000\n")
    result = applctl("set", "SPARE_WORKERS=2", "HEARTBEAT_INTERVAL=10")
    assert result.exit_code == 1
    assert "WORKER_TTL must be at least 3" in result.stderr
    assert [path.name for path in file.parent.iterdir()] == ["appliance.env"]
    assert file.read_text() == "PORT=9000\n"


def test_a_name_that_is_none_is_refused_with_the_one_that_is_meant() -> None:
    result = applctl("set", "CHROMIUM_WORKER=2")
    assert result.exit_code == 1
    assert "did you mean CHROMIUM_WORKERS?" in result.stderr


def test_unset_takes_a_setting_out_however_it_is_written(file: Path) -> None:
    file.write_text("port=9000\nSPARE_WORKERS=3\n")
    assert applctl("unset", "PORT", "QUEUE_TIMEOUT").exit_code == 0
    assert file.read_text() == "SPARE_WORKERS=3\n"


def test_a_name_alone_asks_for_its_value_and_does_not_show_it() -> None:
    result = applctl("set", "APPLIANCE_TOKEN", answer="a-token-of-20-letters\n")
    assert result.exit_code == 0
    assert "a-token-of" not in result.output
    assert config.load().appliance_token.get_secret_value() == "a-token-of-20-letters"  # type: ignore[union-attr]


def test_it_says_that_the_environment_counts_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9000")
    assert "the environment sets PORT, too, and overrides the file" in applctl("set", "PORT=9001").output


def test_a_value_is_checked_even_where_the_environment_overrides_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "9000")
    result = applctl("set", "PORT=lots")
    assert (result.exit_code, "PORT: 'lots' is not a whole number" in result.stderr) == (1, True)
    assert not file.exists()


@pytest.mark.parametrize("words", [["PORT", "=", "9001"], ["PORT = 9001"], ["PORT", "=9001"], ["port=9001"]])
def test_a_setting_may_be_written_with_spaces_around_the_sign(words: list[str]) -> None:
    assert applctl("set", "HOST=127.0.0.2", *words, "SPARE_WORKERS=0").exit_code == 0
    settings = config.load()
    assert (settings.host, settings.port, settings.spare_workers) == ("127.0.0.2", 9001, 0)


def test_without_a_terminal_values_are_read_from_standard_input() -> None:
    assert applctl("set", "PORT", "QUEUE_TIMEOUT", answer="9001\n7\n").exit_code == 0
    assert (config.load().port, config.load().queue_timeout) == (9001, 7)
    nothing = applctl("set", "PORT", answer="")
    assert (nothing.exit_code, "There is no value for PORT" in nothing.stderr) == (2, True)


@pytest.mark.parametrize(("name", "value", "is_shown"), [("PORT", "9001", True), ("REDIS_PASSWORD", 16 * "x", False)])
def test_on_a_terminal_only_secrets_are_hidden_while_they_are_typed(name: str, value: str, is_shown: bool) -> None:
    terminal, inside = os.openpty()
    program = "from appliance.cli import main; main()"
    command = [sys.executable, "-c", program, "config", "set", name]
    applctl = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, start_new_session=True)
    os.close(inside)
    try:
        said = b""
        while not said.endswith(f"{name}: ".encode()):
            said += os.read(terminal, 1024)
        os.write(terminal, f"{value}\n".encode())
        with suppress(OSError):  # EIO: all is read, and the other end is closed
            while more := os.read(terminal, 1024):
                said += more
        applctl.wait(30)
    finally:
        applctl.kill()
    os.close(terminal)
    assert applctl.returncode == 0
    assert (value.encode() in said) == is_shown


def test_get_prints_values_alone() -> None:
    assert applctl("set", "PORT=9001").exit_code == 0
    assert applctl("get", "port", "LOG_LEVEL").stdout == "9001\nINFO\n"
    assert json.loads(applctl("get", "PORT", "--json").stdout) == {"PORT": 9001}


def test_list_is_what_config_alone_prints() -> None:
    assert applctl("list").stdout == applctl().stdout
