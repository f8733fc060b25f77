"""`applctl doctor`: what is wrong, and how to fix it."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from appliance.checks import Check, examine
from appliance.cli.command import command
from appliance.cli.output import Output, status_text

EXIT_SICK = 1
_WIDTHS = (8, 14)  # of the first two columns


@command(
    "applctl doctor",
    "applctl doctor --json | jq '.[] | select(.status != \"ok\")'",
    exit_codes="0  nothing failed; there may be warnings\n1  something failed",
)
def doctor(out: Output) -> list[dict[str, Any]]:
    """Find what is wrong, and how to fix it.

    Checks this machine and its appliance one by one. It changes nothing, and works whether the appliance runs or not.
    """
    checks = []
    for check in examine():
        checks.append(check)
        out.show(_row(check))
    if any(check.status == "failed" for check in checks):
        out.exit_code = EXIT_SICK
    return [check.as_dict() for check in checks]


def _row(check: Check) -> Table:
    """Return a check as a row of its own, so that each one shows as soon as it is done."""
    row = Table.grid(padding=(0, 1, 0, 0))
    for width in _WIDTHS:
        row.add_column(width=width)
    row.add_column(overflow="fold")
    row.add_row(status_text(check.status), check.name, check.finding)
    if check.remedy:
        row.add_row("", "", check.remedy)
    return row
