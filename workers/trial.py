"""`python -m workers.trial FOLDER`: find out whether the driver of that folder can be confined.

The driver is loaded as a worker loads it, and ended before it acts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from appliance.errors import LaunchError
from workers.driver import PRELOAD
from workers.launch_options import NODE_FLAGS

_TIMEOUT_S = 60


def load(driver: Path, browser: str, compile_cache: Path | None = None) -> None:
    """Load a driver with the preload, which ends it if it does not fit; raises LaunchError with its words."""
    with tempfile.TemporaryDirectory() as place:
        configuration = Path(place) / "launch.json"
        configuration.write_text(json.dumps({"port": f"{place}/driver.sock"}))
        command = [str(driver / "node"), *NODE_FLAGS, "-r", str(PRELOAD), str(driver / "package" / "cli.js")]
        command += ["launch-server", "--browser", browser, "--config", str(configuration), "--help"]
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": place}
        environment |= {"NODE_COMPILE_CACHE": str(compile_cache)} if compile_cache else {}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        raise LaunchError(f"the driver in {driver} does not start: {done.stderr.strip()[:500]}")


def main() -> int:
    """Load the driver of the folder that is named; give the exit code."""
    try:
        load(Path(sys.argv[1]), "chromium")
    except (LaunchError, OSError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
