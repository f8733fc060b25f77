"""`python -m workers.compile_cache`: let node compile the driver's program once, for all drivers to read.

Where workers have accounts, root does so before they start: a driver, or a browser that broke out, can change nothing
there, for V8 runs what it finds without a doubt. Without accounts drivers fill the folder themselves.

node names the folder of its cache "<version>-<architecture>-<flags>-<user id>" (its src/compile_cache.cc,
GetCacheVersionTag), so each worker's user id gets a link to root's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from appliance.errors import LaunchError, SettingsError
from appliance.machine import browsers
from appliance.machine.accounts import accounts_of
from appliance.settings import config
from appliance.settings.config import Settings
from workers.driver import PRELOAD
from workers.launch_options import NODE_FLAGS

_TIMEOUT_S = 60


def fill(settings: Settings) -> None:
    """Fill the folder if it is of another driver, and let all workers find it; raises LaunchError and OSError."""
    accounts = accounts_of(settings)
    if accounts is None:
        return
    folder = settings.paths.compile_cache
    stamp, program = folder / "of", _describe(browsers.driver_folder(settings))
    if not (stamp.is_file() and stamp.read_text() == program):
        for old in folder.iterdir():
            old.unlink() if old.is_symlink() or old.is_file() else shutil.rmtree(old)
        _compile(settings, folder)
        stamp.write_text(program)
    for cache in [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]:
        for uid in (*map(accounts.uid_of, settings.worker_names), accounts.agents_uid):
            link = folder / f"{cache.name.rpartition('-')[0]}-{uid}"
            if not link.is_symlink():
                link.symlink_to(cache.name)


def _describe(driver: Path) -> str:
    """Describe what is compiled, so that another version of it is noticed."""
    files = [driver / "node", *sorted((driver / "package" / "lib").glob("*.js")), *sorted(PRELOAD.parent.glob("*.js"))]
    facts = [[str(file), file.stat().st_mtime_ns, file.stat().st_size] for file in files]
    return json.dumps([NODE_FLAGS, facts])  # node takes nothing that was compiled with other flags


def _compile(settings: Settings, folder: Path) -> None:
    """Have node load a driver as a worker's does, and end it before it acts; make readable what is compiled."""
    driver = browsers.driver_folder(settings)
    with tempfile.TemporaryDirectory() as place:
        configuration = Path(place) / "launch.json"
        configuration.write_text(json.dumps({"port": f"{place}/driver.sock"}))
        command = [str(driver / "node"), *NODE_FLAGS, "-r", str(PRELOAD), str(driver / "package" / "cli.js")]
        command += ["launch-server", "--browser", settings.browser_type.value, "--config", str(configuration), "--help"]
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": place, "NODE_COMPILE_CACHE": str(folder)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        raise LaunchError(f"the driver in {driver} does not start: {done.stderr.strip()[:500]}")
    for path in [*folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def main() -> int:
    """Fill the folder of the settings' appliance; give the exit code."""
    try:
        fill(config.load())
    except (SettingsError, LaunchError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
