"""`python -m workers.compile_cache`: let node compile the driver's program once, for all drivers to read.

Where workers have accounts, root does so before they start: a driver, or a browser that broke out, can change nothing
there, for V8 runs what it finds without a doubt. Without accounts drivers fill the folder themselves.

node names the folder of its cache "<version>-<architecture>-<flags>-<user id>" (its src/compile_cache.cc,
GetCacheVersionTag), so each worker's user id gets a link to root's.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from appliance.errors import LaunchError, SettingsError
from appliance.machine import browsers, drivers
from appliance.machine.accounts import accounts_of
from appliance.names import Browser
from appliance.settings import config
from appliance.settings.config import Settings
from workers import trial
from workers.driver import PRELOAD
from workers.launch_options import NODE_FLAGS


def fill(settings: Settings) -> None:
    """Fill the folder if it is of other drivers, and let all workers find it; raises LaunchError and OSError."""
    accounts = accounts_of(settings)
    if accounts is None:
        return
    folder, found = settings.paths.compile_cache, _drivers(settings)
    stamp, program = folder / "of", json.dumps([_describe(driver) for driver in found])
    if not (stamp.is_file() and stamp.read_text() == program):
        for old in folder.iterdir():
            old.unlink() if old.is_symlink() or old.is_file() else shutil.rmtree(old)
        for driver, browser in found.items():
            trial.load(driver, browser, folder)
        _make_readable(folder)
        stamp.write_text(program)
    for cache in [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]:
        for uid in (*map(accounts.uid_of, settings.worker_names), accounts.agents_uid):
            link = folder / f"{cache.name.rpartition('-')[0]}-{uid}"
            if not link.is_symlink():
                link.symlink_to(cache.name)


def _drivers(settings: Settings) -> dict[Path, Browser]:
    """Return the drivers of the appliance and of all pools, each with a browser that it runs."""
    found = {browsers.driver_folder(settings): settings.browser_type}
    others = [pool for pool in settings.all_pools if pool.version]
    return found | {drivers.find(pool.version, settings).folder: pool.browser for pool in others}


def _describe(driver: Path) -> str:
    """Describe what is compiled, so that another version of it is noticed."""
    files = [driver / "node", *sorted((driver / "package" / "lib").glob("*.js")), *sorted(PRELOAD.parent.glob("*.js"))]
    facts = [[str(file), file.stat().st_mtime_ns, file.stat().st_size] for file in files]
    return json.dumps([NODE_FLAGS, facts])  # node takes nothing that was compiled with other flags


def _make_readable(folder: Path) -> None:
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
