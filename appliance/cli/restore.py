"""`applctl restore`: put back what `applctl backup` saved.

Rules
 1. All of the backup is checked, and what would be changed is said, before anything is changed.
 2. Tokens are merged: newer tokens stay valid. A token that was revoked, before or after the backup, stays revoked.
 3. A file goes to where its setting says, and nowhere else; never through a link.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from dotenv import dotenv_values

from appliance import files
from appliance.cli.archive import FILES, SETTINGS, TOKENS, Archive, BackupError, Part, read_archive
from appliance.cli.command import command
from appliance.cli.output import Output, counted
from appliance.cli.token_ledger import Ledger, open_ledger
from appliance.errors import ApplianceError, SettingsError
from appliance.grid import token_table
from appliance.grid.token_table import Table
from appliance.machine import certificate, drivers
from appliance.machine.environment import started_settings
from appliance.settings import config
from appliance.settings.config import Settings

_SECRET_MODE, _CERT_MODE = 0o640, 0o644  # at most


@dataclass(frozen=True, slots=True)
class Write:
    """A file to write; `what` says to the operator what that changes."""

    path: Path
    content: bytes
    part: Part
    what: str
    replaces: bool


@dataclass(slots=True)
class Plan:
    """What a restore changes. The operator adds the listed `drivers` afterwards."""

    writes: list[Write] = field(default_factory=list)
    tokens: Table = field(default_factory=dict)
    token_changes: list[str] = field(default_factory=list)
    drivers: list[str] = field(default_factory=list)

    @property
    def changes(self) -> list[str]:
        """One sentence for each change."""
        return [*(f"{write.path}: {write.what}" for write in self.writes), *self.token_changes]


@command("applctl restore appliance.tar", "applctl restore --yes appliance.tar && applctl restart")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask, even if files are replaced or the appliance runs.")
def restore(out: Output, file: Path, yes: bool) -> dict[str, Any]:
    """Put back what `applctl backup` saved.

    Says what it changes. Asks first if it would replace something, or if the appliance runs. Tokens that were created
    since the backup stay; one that was revoked stays revoked. `applctl up` or `applctl restart` applies the settings.
    """
    archive = read_archive(file)
    settings = _future_settings(archive)
    _require_same_run_dir(settings)
    running = started_settings(settings)
    _require_same_grid(settings, running)
    with open_ledger(running or settings) as ledger:
        plan = make_plan(archive, settings, ledger.table())
        out.say(f"Backup of {archive.manifest.name}, {archive.manifest.created}.")
        for change in plan.changes:
            out.say(f"  {change}")
        if not plan.changes:
            out.say("Nothing is different.")
        else:
            if not yes:
                _ask(plan, is_running=running is not None)
            _carry_out(plan, ledger)
    for version in plan.drivers:
        out.warn(f"The driver of Playwright {version} is not here: applctl drivers add {version}")
    if plan.changes:
        out.say(f"Restored. `applctl {'restart' if running else 'up'}` applies it.")
    return {"changes": plan.changes, "missing_drivers": plan.drivers, "running": running is not None}


def make_plan(archive: Archive, settings: Settings, tokens: Table) -> Plan:
    """Return the planned changes. Raises BackupError for what cannot be restored."""
    plan = Plan(tokens=_tokens_of(archive))
    if SETTINGS in archive.contents:
        _plan_settings(plan, archive)
    _require_usable_pairs(archive)
    for name in FILES:
        _plan_file(plan, archive, settings, name)
    _plan_tokens(plan, tokens)
    there = {driver.version for driver in drivers.added(settings)}
    plan.drivers = [version for version in archive.manifest.drivers if version not in there]
    return plan


def _future_settings(archive: Archive) -> Settings:
    """Return the settings as they will be; raises SettingsError if they would be wrong."""
    if SETTINGS not in archive.contents:
        return config.load()
    with tempfile.NamedTemporaryFile() as file:
        file.write(archive.contents[SETTINGS])
        file.flush()
        return config.load(file=Path(file.name))


def _require_same_run_dir(settings: Settings) -> None:
    """Raise an error if an appliance runs here that `applctl` would not find any more."""
    try:
        present = config.load()
    except SettingsError:  # they are to be mended
        return
    if present.run_dir != settings.run_dir and started_settings(present):
        raise ApplianceError(
            f"the appliance runs in {present.run_dir}, but the backup's settings have RUN_DIR={settings.run_dir}",
            "Nothing was changed. Stop the appliance first: applctl down.",
        )


def _require_same_grid(settings: Settings, running: Settings | None) -> None:
    if running and (settings.redis_url, settings.grid_namespace) != (running.redis_url, running.grid_namespace):
        raise ApplianceError(
            "the backup's settings are of another grid than the one that runs",
            "Stop the appliance first: applctl down.",
        )


def _tokens_of(archive: Archive) -> Table:
    try:
        table = token_table.parse(json.loads(archive.contents[TOKENS]))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise BackupError("the backup's tokens cannot be understood") from error
    if not all(token_table.is_name(token.name) for token in table.values()):
        raise BackupError("the backup's tokens have names that no token has")
    return table


def _plan_settings(plan: Plan, archive: Archive) -> None:
    path, content = config.settings_file(), archive.contents[SETTINGS]
    if path.is_file() and path.read_bytes() == content:
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        new, old = dotenv_values(file.name), dotenv_values(path)
    names = sorted(name for name in new.keys() | old.keys() if new.get(name) != old.get(name))
    what = f"changes {', '.join(names)}" if names else "changes only comments"
    part = archive.manifest.parts[SETTINGS]
    part.mode &= _SECRET_MODE
    _add(plan, path, content, part, what)


def _plan_file(plan: Plan, archive: Archive, settings: Settings, name: str) -> None:
    if (part := archive.manifest.parts.get(f"files/{name}")) is None:
        return
    path, content = getattr(settings, name.lower()), archive.contents[f"files/{name}"]
    if path is None or str(path) != part.path or ".." in path.parts:
        raise BackupError(
            f"the backup has {name} at {part.path}, but the settings have it at {path or 'no place'}",
            f"Nothing was changed. Does the environment set {name}?",
        )
    if path.is_symlink():
        if path.is_file() and path.read_bytes() == content:
            return
        raise BackupError(f"{path} is a symbolic link, through which nothing is restored", f"Remove it: rm {path}")
    if path.is_file() and path.read_bytes() == content:
        return
    part.mode &= _SECRET_MODE if name.endswith("KEY") else _CERT_MODE
    _add(plan, path, content, part, name)


def _add(plan: Plan, path: Path, content: bytes, part: Part, what: str) -> None:
    if path.exists() and not path.is_file():
        raise BackupError(f"{path} is not a file", f"Nothing was changed. Remove {path}.")
    replaces = path.exists()
    plan.writes.append(Write(path, content, part, f"{what} ({'replaced' if replaces else 'new'})", replaces))


def _require_usable_pairs(archive: Archive) -> None:
    """Raise SettingsError if a certificate and its key do not fit."""
    with tempfile.TemporaryDirectory() as folder:
        for prefix in ("", "REDIS_"):
            pair = [Path(folder) / f"{prefix}{name}" for name in ("TLS_CERT", "TLS_KEY")]
            contents = [archive.contents.get(f"files/{path.name}") for path in pair]
            for path, content in zip(pair, contents, strict=True):
                files.replace(path, content or b"")
            if any(contents):
                certificate.require_usable(pair[0], pair[1], prefix)


def _plan_tokens(plan: Plan, tokens: Table) -> None:
    before, after = token_table.valid(tokens), token_table.valid(token_table.joined(tokens, plan.tokens))
    added = [after[digest].name for digest in after.keys() - before.keys()]
    revoked = [before[digest].name for digest in before.keys() - after.keys()]
    if added:
        plan.token_changes.append(f"{counted(len(added), 'token')} more: {', '.join(sorted(added))}")
    if revoked:
        plan.token_changes.append(f"{counted(len(revoked), 'token')} revoked: {', '.join(sorted(revoked))}")
    if not added and not revoked and token_table.joined(tokens, plan.tokens) != tokens:
        plan.token_changes.append("revocations of tokens that are not known here")


def _ask(plan: Plan, *, is_running: bool) -> None:
    if not is_running and not any(write.replaces for write in plan.writes):
        return
    why = "The appliance runs." if is_running else "Files are replaced."
    if not sys.stdin.isatty():
        raise ApplianceError(f"nothing was restored. {why}", "If that is right, repeat it with --yes.")
    if not click.confirm(f"{why} Restore?", err=True):
        raise ApplianceError("nothing was restored")


def _carry_out(plan: Plan, ledger: Ledger) -> None:
    for write in plan.writes:
        _put(write)
    ledger.join(plan.tokens)


def _put(write: Write) -> None:
    """Write a file with its owner and mode from the backup; an existing one keeps its own. Only root changes owners."""
    write.path.parent.mkdir(parents=True, exist_ok=True)
    before = write.path.stat() if write.path.exists() else None
    files.replace(write.path, write.content, mode=before.st_mode & 0o777 if before else write.part.mode)
    if os.geteuid() == 0:
        os.chown(write.path, *((before.st_uid, before.st_gid) if before else _account_of(write.part)))


def _account_of(part: Part) -> tuple[int, int]:
    """Return the user and group of a part, root's where this machine does not know them."""
    uid = gid = 0
    with suppress(KeyError):
        uid = pwd.getpwnam(part.owner).pw_uid
    with suppress(KeyError):
        gid = grp.getgrnam(part.group).gr_gid
    return uid, gid
