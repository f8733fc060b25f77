"""What a command says when the machine refuses it something."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import click
import psutil
import pytest
from click.testing import CliRunner

from appliance.cli.application import Application
from appliance.machine import room

ERRORS = [
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/run/x"), "/run/x: No space left on device\n  Free some space"),
    (PermissionError(errno.EACCES, "Permission denied", "/etc/x"), "/etc/x: Permission denied\n  Use the account"),
    (OSError("of no number"), "of no number\n"),
    (subprocess.TimeoutExpired(["nft", "-f"], 30), "nft took longer than 30 s\n"),
    (subprocess.CalledProcessError(3, ["setpriv"]), "setpriv failed with exit code 3\n"),
    (psutil.AccessDenied(7), "(pid=7)"),
]


@pytest.mark.parametrize(("error", "said"), ERRORS, ids=[type(error).__name__ for error, _ in ERRORS])
def test_a_refusal_of_the_machine_is_a_sentence_and_no_traceback(error: Exception, said: str) -> None:
    @click.group(cls=Application)
    def group() -> None:
        """Have one command."""

    @group.command()
    def act() -> None:
        raise error

    result = CliRunner().invoke(group, ["act"])
    assert result.exit_code == 1
    assert said in result.stderr
    assert isinstance(result.exception, SystemExit)


def test_a_reader_who_has_enough_is_no_error() -> None:
    program = "from appliance.cli.application import main; main(['config'])"
    command = f'"$0" -c "{program}" | head -n 1'
    done = subprocess.run(["sh", "-c", command, sys.executable], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_room_is_measured_in_bytes_and_in_files_of_the_folder_that_will_be_made(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "made" / "yet"
    assert room.shortage(folder, 0, 0) == ""
    assert room.shortage(folder, 2**60).startswith("only ")
    assert room.shortage(folder, 0, 2**62).startswith("space for only ") or not os.statvfs(tmp_path).f_files
