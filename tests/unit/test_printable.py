"""What comes from elsewhere is shown without obeying it, in log lines and by `applctl`."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.text import Text

from appliance.cli.log_lines import parse
from appliance.cli.output import console, table
from appliance.printable import printable

ROOT = Path(__file__).resolve().parents[2]
# What moves cursors, breaks lines, turns the direction of writing, or cannot be encoded.
NASTY = "\x1b[31m \t\r\n \x7f \x85 \x9b2J \u2028\u2029 \u202e\u2066 \udc80 \U000e0001"
PLAIN = 'é日本 "quoted" back\\slash'


def test_each_character_that_cannot_be_printed_becomes_an_escape_of_json() -> None:
    assert printable(NASTY).isprintable()
    assert json.loads(f'"{printable(NASTY)}"') == NASTY
    assert printable(PLAIN) == PLAIN
    assert printable("a\nb\r", keep="\n") == "a\nb\\r"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_log_line_is_one_line_whatever_its_values_and_is_read_back(log_format: str) -> None:
    code = f"""
from appliance import logs
logs.configure("INFO", {log_format!r}, worker={PLAIN!r})
logs.get_logger().info("shown", value={NASTY!r})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    line, end = done.stdout.decode().split("\n")
    assert end == ""
    assert line.isprintable()
    record = parse("proxy", line)
    assert record
    assert record.text().plain.isprintable()
    assert record.values == {"worker": PLAIN, "value": NASTY}


def test_applctl_prints_no_control_characters_of_others() -> None:
    out = console()
    out.file = io.StringIO()
    cells = table("A", "B")
    cells.add_row(NASTY.replace("\n", ""), "the last column")
    for shown in (NASTY, Text(NASTY), cells):
        out.print(shown)
    printed = out.file.getvalue()
    assert printed.replace("\n", "").isprintable()
    assert printed.count("\\u001b[31m") == 3
    assert "the last column" in printed
