"""The page about the environment, and the list that it describes."""

from __future__ import annotations

import re
from pathlib import Path

from appliance.machine.inherited import NAMES

PAGE = Path(__file__).parents[2] / "docs" / "environment.md"


def test_each_variable_that_is_taken_over_is_in_the_table_and_no_other() -> None:
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}
    assert named == NAMES
