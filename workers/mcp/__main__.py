"""`python -m workers.mcp`: the process that starts agents' browsers, as supervisord starts it.

It takes an account without rights, leaves the machine's networks, and becomes listener.py, which needs neither the
settings nor the packages that read them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from appliance.errors import SettingsError
from appliance.machine import browsers, kernel
from appliance.machine.accounts import become_agents
from appliance.settings import config
from appliance.settings.config import Settings

_FOLDER = Path(__file__).parent
_HEAP_MAX_MIB = 256  # of one process's JavaScript; a session with a large page has 60
_PAUSE_AFTER_A_FALSE_START_S = 5  # supervisord starts it again at once


def main() -> int:
    """Become the listener; return the exit code if that fails."""
    try:
        settings = config.load()
        node = node_command(settings)
        os.chdir(settings.paths.mcp)  # session.js names the proxy's socket without a folder
        _leave_networks()
        become_agents(settings)
        kernel.take_no_more_rights()
        kernel.die_with_parent(signal.SIGKILL)
        order = json.dumps({"command": node, "environment": node_environment(settings)})
        listener = [sys.executable, "-I", "-S", str(_FOLDER / "listener.py")]
        command = [*listener, str(settings.paths.mcp_socket), order]
        os.execve(sys.executable, command, own_environment(os.environ))  # noqa: S606  # it needs no shell
    except SettingsError as error:
        print(f"{error}\n{error.hint}".rstrip(), file=sys.stderr, flush=True)
    except OSError as error:
        print(f"Agents' browsers cannot be started: {error}", file=sys.stderr, flush=True)
    time.sleep(_PAUSE_AFTER_A_FALSE_START_S)
    return 1


def _leave_networks() -> None:
    """Use no network, where the machine allows that; a container may not. No tool uses one anyway."""
    try:
        kernel.leave_networks()
    except OSError as error:
        print(f"Agents' processes share this machine's network: {error.strerror}.", file=sys.stderr, flush=True)


def node_command(settings: Settings) -> list[str]:
    """Return what each agent's process runs."""
    folder = browsers.driver_folder(settings)
    flags = [f"--max-old-space-size={_HEAP_MAX_MIB}"]
    return [str(folder / "node"), *flags, str(_FOLDER / "session.js"), str(folder / "package")]


def node_environment(settings: Settings) -> dict[str, str]:
    """Return the environment of each agent's process: nothing that leads anywhere but to node's compiled code."""
    nowhere = "/nonexistent"
    return {
        "HOME": nowhere,
        "TMPDIR": nowhere,
        "LANG": "C.UTF-8",
        "RUN_DIR": str(settings.run_dir),
        "NODE_COMPILE_CACHE": str(settings.paths.compile_cache),
    }


def own_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which the appliance's processes are known (machine/processes.py)."""
    return {name: environment[name] for name in ("RUN_DIR", "REDIS_PROCESSES") if name in environment}


if __name__ == "__main__":
    sys.exit(main())
