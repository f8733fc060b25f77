"""`applctl backup`: settings, tokens, certificates and keys in one file."""

from __future__ import annotations

import grp
import json
import os
import pwd
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from appliance import __version__, files
from appliance.cli.archive import FILES, FORMAT, SETTINGS, TOKENS, Archive, Manifest, Part
from appliance.cli.command import command
from appliance.cli.connection import current_settings
from appliance.cli.output import Output, counted
from appliance.cli.token_ledger import open_ledger
from appliance.grid import token_table
from appliance.machine import drivers
from appliance.settings import config
from appliance.settings.config import Settings
from appliance.settings.file import known_names


@command("applctl backup appliance.tar", "applctl backup --json /var/backups/appliance.tar | jq .settings_elsewhere")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(out: Output, file: Path) -> dict[str, Any]:
    """Save settings, tokens and certificates in one file.

    The file contains the settings file, the digests and roles of all tokens, the certificates and keys that settings
    name, and a list of the drivers that were added. It contains secrets, so only its owner may read it. It is written
    whole or not at all.
    `applctl restore` puts all of it back, here or on a new machine.
    """
    settings = config.load()
    archive = make_archive(settings)
    files.save(archive.as_tar(), file, mode=0o600)
    tokens = len(json.loads(archive.contents[TOKENS]))
    elsewhere = [name for name in known_names() if name in os.environ]
    if elsewhere:
        out.warn(f"The environment sets {', '.join(elsewhere)}: that is not in the backup.")
    if SETTINGS not in archive.contents:
        out.warn(f"There is no settings file {config.settings_file()}.")
    names = [name for name in FILES if f"files/{name}" in archive.contents]
    also = f", {', '.join(names)}" if names else ""
    out.show(f"Saved in {file}: settings, {counted(tokens, 'token')}{also}. Keep it where nobody else can read it.")
    return {"file": file.absolute(), "tokens": tokens, "files": names, "settings_elsewhere": elsewhere}


def make_archive(settings: Settings) -> Archive:
    """Return all that a backup has. Raises OSError, and StoreUnavailable if a Redis that is needed is away."""
    versions = [driver.version for driver in drivers.added(settings)]
    created = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = Manifest(
        format=FORMAT,
        appliance=__version__,
        created=created,
        name=settings.appliance_name,
        drivers=versions,
        parts={},
    )
    archive = Archive(manifest)
    if (file := config.settings_file()).is_file():
        archive.add(SETTINGS, file.read_bytes(), _part(file))
    with open_ledger(current_settings()) as ledger:
        lasting = {digest: one for digest, one in ledger.table().items() if not one.expires_ms}
    archive.add(TOKENS, json.dumps(token_table.as_data(lasting), indent=1).encode())
    for name in FILES:
        if path := getattr(settings, name.lower()):
            archive.add(f"files/{name}", path.read_bytes(), _part(path))
    return archive


def _part(path: Path) -> Part:
    status = path.stat()
    part = Part(sha256="", path=str(path), mode=status.st_mode & 0o777)
    with suppress(KeyError):  # an account that has no name
        part.owner, part.group = pwd.getpwuid(status.st_uid).pw_name, grp.getgrgid(status.st_gid).gr_name
    return part
