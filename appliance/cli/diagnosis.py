"""`applctl doctor`: what is wrong, and how to mend it."""

from __future__ import annotations

import click

from appliance.cli.output import console, json_option, print_json
from appliance.doctor import examine

EXIT_SICK = 1
_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


@click.command(
    short_help="Find what is wrong, and how to mend it.",
    epilog="""
\b
Exit codes: 0 nothing failed (there may be warnings); 1 something failed.

\b
Examples:
  applctl doctor
  applctl doctor --json | jq '.[] | select(.status != "ok")'
""",
)
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check this machine and its appliance, one thing after the other, and say how to mend what is wrong.

    It changes nothing, and works whether the appliance runs or not.
    """
    out, checks = console(), []
    for check in examine():
        checks.append(check)
        if as_json:
            continue
        style = _STYLES[check.status]
        out.print(f"[{style}]{check.status:<8}[/] {check.name:<12} ", end="")
        out.print(check.finding, markup=False)
        if check.remedy:
            out.print(f"{'':22}{check.remedy}", markup=False)
    if as_json:
        print_json([check.as_dict() for check in checks])
    ctx.exit(EXIT_SICK if any(check.status == "failed" for check in checks) else 0)
