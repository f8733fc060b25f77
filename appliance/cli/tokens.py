"""`applctl token`: who may use the grid."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
from rich.table import Table as Columns

from appliance import tokens
from appliance.cli.connection import current_settings
from appliance.cli.output import console, json_option, print_json
from appliance.cli.token_ledger import open_ledger
from appliance.config import Settings
from appliance.errors import ApplianceError
from appliance.relations import is_loopback


class TokenError(ApplianceError):
    """The tokens are not such that this could be done."""


@click.group(
    short_help="Say who may use the grid.",
    epilog="""
\b
Example:
  applctl token create ci
""",
)
def token() -> None:
    """Make tokens, list and revoke them.

    Clients need one, but for root and the appliance's own account where HOST is loopback and APPLIANCE_TOKEN is not
    set. Tokens are valid on every appliance of the grid at once. The grid keeps no token, only its digest.
    """


@token.command(
    short_help="Make a token.",
    epilog="""
\b
Examples:
  applctl token create ci
  TOKEN=$(applctl token create ci 2>/dev/null)
""",
)
@click.argument("name")
@json_option
def create(name: str, as_json: bool) -> None:
    """Make a token, and print it on standard output, this once.

    NAME tells it from others: in the list, in the logs and in the records of sessions.
    """
    if not tokens.is_name(name):
        raise click.BadParameter("up to 64 letters, digits, dots, hyphens and underscores", param_hint="NAME")
    settings, secret = _settings(), tokens.new_token()
    with open_ledger(settings) as ledger:
        if not ledger.create(tokens.digest_of(secret), name):
            raise TokenError(
                f"there is a token {name} already", f"Revoke it (applctl token revoke {name}), or name it otherwise."
            )
    url = f"{settings.endpoint}/?token={secret}"
    if as_json:
        print_json({"name": name, "token": secret, "url": url})
        return
    click.echo(secret)
    console(as_json=True).print(
        _HOW_TO_USE.format(name=name, url=url, endpoint=settings.endpoint, token=secret), markup=False
    )


_HOW_TO_USE = """
That is the token {name}. It is shown this once. A client connects with

    connect("{url}")

or, if its URL may show in a log, with connect("{endpoint}", headers={{"Authorization": "Bearer {token}"}})."""


@token.command(
    name="list",
    short_help="List the tokens.",
    epilog="""
\b
Examples:
  applctl token list
  applctl token list --json | jq -r '.[] | select(.last_used == null) | .name'
""",
)
@json_option
def list_(as_json: bool) -> None:
    """List the valid tokens: their names, when they were made, and last used (since Redis was started)."""
    with open_ledger(_settings()) as ledger:
        found = sorted(tokens.valid(ledger.table()).items(), key=lambda item: item[1].created_ms)
        used = ledger.used_ms()
    rows: list[dict[str, Any]] = [
        {"name": one.name, "created": _iso(one.created_ms), "last_used": _iso(used.get(digest, 0))}
        for digest, one in found
    ]
    if as_json:
        print_json(rows)
        return
    table = Columns("Token", "Created", "Last used", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(row["name"], row["created"], row["last_used"] or "")
    console().print(table if rows else "There is no token.")


@token.command(
    short_help="Revoke tokens.",
    epilog="""
\b
Example:
  applctl token revoke ci
""",
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@json_option
def revoke(names: tuple[str, ...], as_json: bool) -> None:
    """Revoke tokens: no session more is opened with them, on any appliance. Running sessions go on.

    A grid whose last token is revoked does not become open: who needed a token needs a new one.
    """
    settings = _settings()
    with open_ledger(settings) as ledger:
        known = {one.name for one in tokens.valid(ledger.table()).values()}
        if unknown := [name for name in names if name not in known]:
            raise TokenError(
                f"there is no token {', '.join(unknown)}", f"There are: {', '.join(sorted(known)) or 'none'}."
            )
        ledger.revoke(names)
        table = ledger.table()
    out = console(as_json)
    for name in names:
        out.print(f"{name} is revoked.", markup=False)
    if not tokens.valid(table):
        is_for_all = tokens.has_boot_token(table) or not is_loopback(settings.host)
        admitted = "nobody" if is_for_all else "only root and the appliance's own account"
        out.print(f"No token is left. Until you make another (applctl token create NAME), {admitted} can connect.")
    if as_json:
        print_json({"revoked": list(names)})


def _settings() -> Settings:
    """Give the settings that the appliance runs with, or would.

    HOST may be such that a token is needed first: that is what is done here, so it is no mistake here.
    """
    return current_settings(allow_anonymous=True)


def _iso(time_ms: int) -> str | None:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds") if time_ms else None
