"""`applctl setup`: install what is missing."""

from __future__ import annotations

from typing import Any

from appliance.cli.command import command
from appliance.cli.output import Output
from appliance.machine import install
from appliance.settings import config
from appliance.settings.config import Settings


@command("applctl setup", "FIREFOX_WORKERS=2 applctl setup")
def setup(out: Output) -> list[dict[str, Any]]:
    """Install Redis, browsers and ffmpeg if missing.

    Keeps what is installed and works. Redis or Valkey 7 comes from the PATH, else from apt; it is not needed if
    REDIS_URL is set. A browser comes from Playwright's own download, else from the system, else from apt.
    """
    return [one.as_dict() for one in provide(config.load(), out)]


def provide(settings: Settings, out: Output) -> list[install.Provided]:
    """Install what the settings need, and show what there is. Raises ProvisionError."""
    with out.console.status("Looking for Redis and the browsers …") as status:

        def say(step: str) -> None:
            status.update(f"{step[:1].upper()}{step[1:]} …")
            if not out.console.is_terminal:
                out.say(step)

        provided = install.provide(settings, say)
    for one in provided:
        where = one.note or f"{one.version}  {one.path}  ({one.how})"
        out.say(f"  {one.name:<12} {where}", "yellow" if one.how == "missing" else "")
    return provided
