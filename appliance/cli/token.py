"""`applctl token`: create, list and revoke the tokens that clients need."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from appliance.cli.command import command, group
from appliance.cli.connection import current_settings
from appliance.cli.output import Output, console, table
from appliance.cli.token_ledger import open_ledger
from appliance.errors import ApplianceError
from appliance.grid import token_table
from appliance.grid.token_table import Role
from appliance.machine.addresses import endpoint_for_others
from appliance.settings.networks import is_loopback


class TokenError(ApplianceError):
    """A token of that name is there already, or is not there."""


@group("applctl token create ci")
def token() -> None:
    """Create, list and revoke clients' tokens.

    On loopback (HOST), root and the appliance's own account need none unless APPLIANCE_TOKEN is set. A token is valid
    on every appliance of the grid at once. The grid keeps only its digest.
    """


@command(
    "applctl token create ci",
    "applctl token create alice --admin",
    "TOKEN=$(applctl token create ci 2>/dev/null)",
    of=token,
)
@click.argument("name")
@click.option("--admin", is_flag=True, help="Let it see and end every session through /api and /dashboard.")
def create(out: Output, name: str, admin: bool) -> dict[str, Any]:
    """Create a token and print it, only this once.

    NAME tells it from others in lists, logs and the records of sessions. Without --admin it sees and ends only the
    sessions that were opened with it.
    """
    if not token_table.is_name(name):
        raise click.BadParameter("use up to 64 letters, digits, dots, hyphens and underscores", param_hint="NAME")
    settings, secret, role = current_settings(), token_table.new_token(), Role.ADMIN if admin else Role.CLIENT
    with open_ledger(settings) as ledger:
        if not ledger.create(token_table.digest_of(secret), name, role):
            raise TokenError(
                f"there is a token {name} already", f"Revoke it (applctl token revoke {name}), or choose another name."
            )
    endpoint = endpoint_for_others(settings) or settings.endpoint
    url = f"{endpoint}/?token={secret}"
    out.show(secret)
    if not out.as_json:
        how = _HOW_TO_USE.format(name=name, url=url, endpoint=endpoint, token=secret)
        console(to_stderr=True).print(how, markup=False, soft_wrap=True)
    return {"name": name, "role": role, "token": secret, "url": url}


_HOW_TO_USE = """
This is the token {name}. It is shown only this once. A client connects with

    connect("{url}")

or, where URLs may end up in logs, with connect("{endpoint}", headers={{"Authorization": "Bearer {token}"}})."""


@command(
    "applctl token list",
    "applctl token list --json | jq -r '.[] | select(.last_used == null) | .name'",
    name="list",
    of=token,
)
def list_(out: Output) -> list[dict[str, Any]]:
    """List the valid tokens.

    Shows the role of each, when it was created, and when it was last used since Redis started.
    """
    with open_ledger(current_settings()) as ledger:
        found = sorted(token_table.valid(ledger.table()).items(), key=lambda item: item[1].created_ms)
        used = ledger.used_ms()
    rows = [
        {
            "name": one.name,
            "role": Role.ADMIN if one.is_admin else Role.CLIENT,
            "created": _iso(one.created_ms),
            "last_used": _iso(used.get(digest, 0)),
        }
        for digest, one in found
    ]
    shown = table("Token", "Role", "Created", "Last used")
    for row in rows:
        shown.add_row(row["name"], row["role"], row["created"], row["last_used"] or "")
    out.show(shown if rows else "There are no tokens.")
    return rows


@command("applctl token revoke ci", of=token)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def revoke(out: Output, names: tuple[str, ...]) -> dict[str, Any]:
    """Revoke tokens, on every appliance at once.

    No new session is opened with them; running ones go on. Revoking the last token does not open the grid: clients
    that needed a token need a new one.
    """
    settings = current_settings()
    with open_ledger(settings) as ledger:
        known = {one.name for one in token_table.valid(ledger.table()).values()}
        if unknown := [name for name in names if name not in known]:
            there = ", ".join(sorted(known)) or "none"
            raise TokenError(f"there is no token {', '.join(unknown)}", f"The grid's tokens: {there}.")
        ledger.revoke(names)
        left = ledger.table()
    for name in names:
        out.say(f"Revoked token {name}.")
    if not token_table.valid(left):
        is_for_all = token_table.has_boot_token(left) or not is_loopback(settings.host)
        admitted = "nobody" if is_for_all else "only root and the appliance's own account"
        out.warn(f"No token is left: {admitted} can connect. `applctl token create NAME` creates one.")
    return {"revoked": list(names)}


def _iso(time_ms: int) -> str | None:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds") if time_ms else None
