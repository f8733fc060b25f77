"""What pip says when it fails, in our own words."""

from __future__ import annotations

import re
from pathlib import Path

from appliance.machine.drivers import CONFINED
from appliance.names import minor_version

_OFFERED = re.compile(r"\(from versions: ([^)]*)\)")
UNREACHABLE = re.compile(r"Retrying|ConnectionError|ConnectTimeout|Could not fetch URL|connection broken")
_BROKEN = re.compile(r"after connection broken by ['\"]?(.*?)['\"]?: /")
UNREACHABLE_HINT = "`pip config list` shows which index pip uses. Check the network, and HTTPS_PROXY behind a proxy."


def why_pip_failed(said: str, wanted: str, folder: Path) -> tuple[str, str]:
    """Return why pip has not fetched a version of Playwright, one sentence, and what to do about it."""
    if "DO NOT MATCH THE HASHES" in said:
        return (
            f"the wheel of Playwright {wanted} does not have the hash that the package index publishes",
            "It was not added. Try again; if it stays so, find out who changes it on its way here.",
        )
    if "No space left on device" in said or "quota exceeded" in said:
        return f"{folder} has no space for the driver", "Free some space, or set DRIVERS_DIR to another folder."
    if "No module named pip" in said:
        return "pip, which fetches drivers, is not installed", "Install it beside applctl: python -m ensurepip."
    if UNREACHABLE.search(said):
        return why_unreachable(said), UNREACHABLE_HINT
    if offered := _OFFERED.search(said):
        versions = [one for one in offered[1].split(", ") if minor_version(one) in CONFINED]
        has = f"It has {', '.join(versions)}." if versions else UNREACHABLE_HINT
        return f"the package index has no Playwright {wanted} for this machine", has
    return f"pip has not fetched Playwright {wanted}: {_reason(said)}", "`pip config list` shows how pip is configured."


def why_unreachable(said: str) -> str:
    """Return that the index cannot be reached, and why."""
    return f"the package index cannot be reached: {_reason(said)}"


def _reason(said: str) -> str:
    """Return the line of pip's that says most."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    broken = [found[1] for line in lines if (found := _BROKEN.search(line))]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR:")]
    return (broken or errors or lines[-1:] or ["it said nothing"])[0].rpartition(">: ")[2].rstrip("')")[:300]
