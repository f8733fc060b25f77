"""`make compatibility`: try every feature with a client of each minor, then let clients of all minors meet."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

from appliance.machine.drivers import CONFINED
from tests.support import site
from tests.support.appliance import Appliance
from tests.support.versions import OTHER_MINORS, OWN_MINOR
from tests.versions import crowd, table
from tests.versions.installed import drivers_dir, python_of

CLIENT = Path(__file__).with_name("client.py")
PATIENCE_S = 900  # for all features of one minor; each has a time-out of its own
FIREFOX = {"DEFAULT_BROWSER_TYPE": "firefox", "FIREFOX_CHANNEL": "moz-firefox", "CHROMIUM_WORKERS": 0}


def tried(browser: str, minor: str, endpoint: str, url: str) -> dict[str, str]:
    """Let a client of a minor try all features; return what became of each."""
    with tempfile.TemporaryDirectory() as folder:
        command = [python_of(minor), str(CLIENT), browser, endpoint, url, folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE_S)
    results: dict[str, str] = json.loads(done.stdout)
    print(f"{browser} {minor}: {json.dumps(results, ensure_ascii=False)}", flush=True)
    return results


def with_chromium(url: str) -> dict[str, dict[str, str]]:
    """Try Chromium with all minors, which one endpoint serves."""
    pools = ",".join(f"chromium@{minor}:1" for minor in OTHER_MINORS)
    settings = {"POOLS": pools, "DRIVERS_DIR": drivers_dir(), "LAUNCH_ARGS": "--user-agent", "MAX_LIFETIME_SESSIONS": 0}
    with Appliance(**settings) as grid:
        return {minor: tried("chromium", minor, grid.endpoint, url) for minor in CONFINED}


def with_firefox(minor: str, url: str) -> dict[str, str]:
    """Try a stock Firefox with the driver of a minor, in a grid of its own: it may not start."""
    if not shutil.which("firefox-esr"):
        return {"": "?: there is no firefox-esr on the machine where this was tried"}
    pool = {"FIREFOX_WORKERS": 1} if minor == OWN_MINOR else {"POOLS": f"firefox@{minor}:1"}
    with ExitStack() as running:
        try:
            grid = running.enter_context(
                Appliance(DRIVERS_DIR=drivers_dir(), MAX_LIFETIME_SESSIONS=0, **FIREFOX, **pool)
            )
        except AssertionError as error:
            print(f"firefox {minor}: {error}", flush=True)
            found = re.search(r'error="(.+?)"', str(error))
            return {"": f"no: {found[1] if found else 'it does not start'}"}
        return tried("firefox", minor, grid.endpoint, url)


def main() -> None:
    """Write the tables of docs/compatibility.md; fail if clients of all minors at the same time are not served."""
    with site.serve() as url:
        found = {"chromium": with_chromium(url), "firefox": {minor: with_firefox(minor, url) for minor in CONFINED}}
        table.write(found)
        crowd.meet(url)


if __name__ == "__main__":
    main()
