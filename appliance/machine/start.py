"""Start the process tree."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from appliance.deadline import wait_until
from appliance.errors import SupervisorError
from appliance.machine import cgroups, pool_file, redis_conf, user_ids
from appliance.machine.accounts import accounts_of, require_usable
from appliance.machine.environment import CONFIGURATION, export, write_pip_environment, write_secrets
from appliance.machine.folders import prepare_run_dir, renew_workers
from appliance.machine.record import record_of
from appliance.machine.supervisor import Supervisor
from appliance.machine_errors import explained
from appliance.settings.config import Settings
from appliance.settings.installation import installation_root

_START_TIMEOUT_S = 20.0
_COMPILE_TIMEOUT_S = 60.0
_POLL_INTERVAL_S = 0.1


def start(settings: Settings, redis_server: Path | None, prepare: Callable[[Settings], None]) -> None:
    """Start supervisord in the background, and return when it answers; `prepare` is called before, with RUN_DIR there.

    Raises SettingsError if the machine contradicts the settings, SupervisorError if it does not start.
    """
    environment = export(settings, redis_server)
    prepare_run_dir(settings)
    write_secrets(settings)
    write_pip_environment(settings)
    user_ids.end_left(settings)
    renew_workers(settings)
    pool_file.write(settings)
    require_usable(settings, installation_root())
    prepare(settings)
    record_of(settings).begin_run()
    if redis_server:
        redis_conf.write(settings)
    _compile_driver(settings, environment)
    if part := cgroups.find_part():
        with suppress(OSError):  # workers then say that they have no group
            cgroups.divide(part)
    started = _run_supervisord(environment)
    running = Supervisor(settings.run_dir).running
    if started.returncode == 0 and wait_until(running, _START_TIMEOUT_S, _POLL_INTERVAL_S):
        return
    said = started.stdout.strip() or f"it did not answer within {_START_TIMEOUT_S:g} s"
    raise SupervisorError(f"supervisord did not start: {said}", f"See {settings.paths.log_of('supervisord')}.")


def _compile_driver(settings: Settings, environment: dict[str, str]) -> None:
    """Compile the driver for workers with user ids of their own, which cannot do it for each other.

    Without it they start more slowly; why it failed is in the log.
    """
    if accounts_of(settings):
        command = [sys.executable, "-m", "workers.compile_cache"]
        with settings.paths.log_of("compile-cache").open("w") as log:
            try:
                subprocess.run(
                    command, env=environment, cwd=installation_root(), stdout=log, stderr=log,
                    timeout=_COMPILE_TIMEOUT_S, check=False,
                )  # fmt: skip
            except subprocess.TimeoutExpired as error:
                log.write(f"The driver was not compiled: {explained(error)[0]}.\n")


def _run_supervisord(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run supervisord until it has read its configuration and gone into the background."""
    root = installation_root()
    return subprocess.run(
        [sys.executable, "-m", "supervisor.supervisord", "-c", str(root / CONFIGURATION)],
        env=environment,
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_START_TIMEOUT_S,
        check=False,
    )
