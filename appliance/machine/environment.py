"""The environment that supervisord is started with: every setting, under the name that config reads.

supervisord.conf refers to settings as %(ENV_NAME)s, and the processes read them as their own settings.
So all of them work with exactly the values that were checked when the appliance was started.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from appliance import files
from appliance.errors import SettingsError, SupervisorError
from appliance.machine import pool_file
from appliance.machine.accounts import accounts_of
from appliance.machine.inherited import inherited
from appliance.machine.supervisor import AccessDenied, Supervisor
from appliance.names import Browser
from appliance.settings import config, secret_files
from appliance.settings.config import Settings
from appliance.settings.installation import installation_root

CONFIGURATION = "supervisord.conf"

_STOP_MARGIN_S = 10  # beyond SHUTDOWN_GRACE, for a worker to end its browser and deregister
_OF_PIP = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle"}
_UNSAFE = "%\"'\\\n"  # supervisord expands log files' names twice, and splits commands like a shell


def export(settings: Settings, redis_server: Path | None) -> dict[str, str]:
    """Return the environment for supervisord: all settings, and what is inherited from this process's own.

    `redis_server` is the program of the appliance's own Redis; None if REDIS_URL names another. Raises
    SettingsError if a path cannot be written in supervisord's configuration, or an account is not there.
    """
    for path in (str(settings.run_dir), sys.executable, str(installation_root())):
        if set(path) & set(_UNSAFE):
            raise SettingsError(
                f"the path {path} contains a percent sign, quote or backslash, which supervisord does not accept",
                "Choose another RUN_DIR, or move the installation.",
            )
    accounts = accounts_of(settings)
    values = {name.upper(): config.as_text(getattr(settings, name)) for name in Settings.model_fields}
    return {
        **_inherited(),
        **values,
        **{f"{browser.upper()}_WORKERS": str(settings.own_workers_of(browser)) for browser in Browser},
        **{name.upper(): "" for name in secret_files.NAMES},
        secret_files.VARIABLE: str(settings.paths.secrets),
        "APPLIANCE_TOKEN": "",  # the proxies know its digest (start.py), and nobody needs more
        # What the settings file says is in the values already: a respawned process shall not read it again.
        "APPLIANCE_ENV": os.devnull,
        "APPLIANCE_PYTHON": sys.executable,
        "APPLIANCE_AS_SERVICE": f"{shlex.join(accounts.as_service(settings.port))} " if accounts else "",
        "REDIS_SERVER": str(redis_server or "/bin/true"),
        "REDIS_PROCESSES": "1" if redis_server else "0",
        "FIREWALL_PROCESSES": str(int(settings.has_firewall)),
        "MCP_PROCESSES": str(int(settings.mcp)),
        "POOLS_PROCESSES": str(int(settings.has_pools_on_demand)),
        **{f"{browser.upper()}_PROCESSES": str(settings.processes_of(browser)) for browser in Browser},
        "STOP_WAIT": str(stop_wait_s(settings)),
    }


def _inherited() -> dict[str, str]:
    """Return what is inherited, its paths absolute: the processes have other working directories."""
    kept = inherited(os.environ)
    if (browsers := kept.get("PLAYWRIGHT_BROWSERS_PATH", "0")) != "0":  # "0": in the driver's own folder
        kept["PLAYWRIGHT_BROWSERS_PATH"] = str(Path(browsers).absolute())
    return kept


def write_secrets(settings: Settings) -> None:
    """Write what `export` leaves out, for the processes that may know it."""
    password = settings.redis_password.get_secret_value() if settings.redis_password else ""
    accounts = accounts_of(settings)
    values = {"redis_url": settings.redis_url or "", "redis_password": password}
    secret_files.write(settings.paths.secrets, values, accounts.service.gid if accounts else None)


def write_pip_environment(settings: Settings) -> None:
    """Write the variables by which pip finds its package index, for the process that fetches drivers, and nobody else.

    They may hold a password: the file is in log/, where only who starts the appliance may enter.
    """
    kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name.lower() in _OF_PIP}
    files.replace(settings.paths.pip_environment, json.dumps(kept))


def stop_wait_s(settings: Settings) -> int:
    """Return the seconds that supervisord waits for a process to end before it kills it."""
    return math.ceil(settings.shutdown_grace + _STOP_MARGIN_S)


def recover(environment: Mapping[str, str]) -> Settings:
    """Return the settings that `export` wrote into an environment; raises SettingsError."""
    values: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        text = environment.get(name.upper(), "")
        values[name] = text if text or field.default is not None else None
    values |= secret_files.read(environment.get(secret_files.VARIABLE, ""))
    return config.load(**values)


def started_settings(settings: Settings) -> Settings | None:
    """Return the settings that the appliance in RUN_DIR was started with; None if it is not running.

    They may differ from those of the environment now: PORT=9000 may have been set for `up` alone. Its pools are those
    that it has now: `applctl scale` may have changed them.
    Raises SupervisorError if the appliance is another account's.
    """
    try:
        started = recover(psutil.Process(Supervisor(settings.run_dir).pid()).environ())
        return pool_file.as_written(started)
    except AccessDenied:
        raise
    except SupervisorError:
        return None
    except (psutil.NoSuchProcess, psutil.AccessDenied) as error:
        raise SupervisorError(
            f"cannot look into the supervisord of {settings.run_dir}: {error}", "Use the account that started it."
        ) from error
