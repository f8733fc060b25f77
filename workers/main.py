"""The process around a worker: its settings, logs, signals and exit code."""

from __future__ import annotations

import signal
import socket
import sys
import time

from appliance import logs
from appliance.errors import SettingsError
from appliance.machine import cgroups, kernel, pool_file
from appliance.machine.accounts import become_worker, worker_uid
from appliance.machine.cgroups import Group
from appliance.settings import config
from appliance.settings.config import Settings
from workers.bounds import memory_bound
from workers.orders import Orders
from workers.worker import Worker, new_worker_id

log = logs.get_logger()

# supervisord restarts a worker at once, so one that cannot even begin must not end at once. Failures
# later in its life are spaced by workers/backoff.py, which needs a folder to count them in.
PAUSE_AFTER_A_FALSE_START_S = 2  # with the longest back-off and a launch, 10 s are not over


def main() -> int:
    """Run the worker that the environment describes; give its exit code."""
    try:
        settings = pool_file.as_written(config.load())
        group = _enter_group(settings)
        become_worker(settings, settings.worker_name)
    except SettingsError as error:
        print(f"{error}\n{error.hint}", file=sys.stderr)
        return _false_start()
    worker_id = new_worker_id(settings)
    try:
        logs.configure(settings.log_level, settings.log_format, worker=worker_id)
        if isinstance(group, OSError):
            log.warning("worker.no_group", error=str(group))
            group = None
        return _run(worker_id, settings, group)
    except (OSError, RuntimeError) as error:  # a machine without descriptors or room, or without threads
        log.error("worker.failed", error=str(error))
    except Exception:
        log.exception("worker.failed")
    return _false_start()


def _enter_group(settings: Settings) -> Group | OSError | None:
    """Enter the worker's control group, as who started the appliance; None if it can have none."""
    try:
        if part := cgroups.find_part():
            uid = worker_uid(settings, settings.worker_name)
            return cgroups.enter(part, settings.worker_name, uid, memory_bound(settings).hard)
    except OSError as error:  # it lives without
        return error
    return None


def _run(worker_id: str, settings: Settings, group: Group | None) -> int:
    kernel.die_with_parent(signal.SIGTERM)
    kernel.adopt_orphans()
    worker = Worker(worker_id, settings, group)
    _at_each_signal_to_end(worker.orders)
    try:
        return worker.run()
    except OSError as error:  # a full disk, most likely
        worker.report_failure(error.strerror or str(error))
        raise


def _at_each_signal_to_end(orders: Orders) -> None:
    """Record each SIGTERM and SIGINT, in a thread of its own.

    A handler would run between any two steps of the main thread, which may hold the very lock that the call
    takes; and one that comes just before the main thread waits would run only after the waiting.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno())  # it is told by the signal itself, whatever the main thread does
    writer.detach()

    def pass_on() -> None:
        while numbers := reader.recv(64):
            for _ in numbers:
                orders.terminate()

    orders.start_thread("signals", pass_on)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)


def _false_start() -> int:
    time.sleep(PAUSE_AFTER_A_FALSE_START_S)
    return 1
