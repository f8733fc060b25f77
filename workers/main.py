"""The process around a worker: its settings, logs, signals and exit code."""

from __future__ import annotations

import signal
import sys
import time

import gevent

from appliance import config, kernel, logs
from appliance.config import Settings
from appliance.errors import LaunchError, SettingsError
from workers.worker import Worker, new_worker_id

log = logs.get_logger()

# supervisord restarts a worker at once, so one that cannot even begin must not end at once. Failures
# later in its life are spaced by workers/backoff.py, which needs a folder to count them in.
PAUSE_AFTER_A_FALSE_START_S = 5


def main() -> int:
    """Run the worker that the environment describes; give its exit code."""
    try:
        settings = config.load()
    except SettingsError as error:
        print(f"{error}\n{error.hint}", file=sys.stderr)
        return _false_start()
    worker_id = new_worker_id(settings)
    logs.configure(settings.log_level, settings.log_format, worker=worker_id)
    try:
        return _run(worker_id, settings)
    except (LaunchError, OSError) as error:
        log.error("worker.failed", error=str(error))
        return _false_start()


def _run(worker_id: str, settings: Settings) -> int:
    kernel.die_with_parent(signal.SIGTERM)
    kernel.adopt_orphans()
    worker = Worker(worker_id, settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        # A plain handler could run inside gevent's hub, which must not wait for a lock.
        gevent.signal_handler(number, worker.orders.terminate)
    return worker.run()


def _false_start() -> int:
    time.sleep(PAUSE_AFTER_A_FALSE_START_S)
    return 1
