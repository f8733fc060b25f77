"""Start and stop the process tree."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from appliance.deadline import Deadline, wait_until
from appliance.errors import SettingsError, SupervisorError
from appliance.grid import token_table
from appliance.grid.token_copy import token_copy_of
from appliance.machine import cgroups, redis_conf
from appliance.machine.accounts import Accounts, accounts_of, require_usable
from appliance.machine.addresses import door_beside_host
from appliance.machine.environment import CONFIGURATION, export, recover, stop_wait_s, write_secrets
from appliance.machine.folders import prepare_run_dir, renew_workers
from appliance.machine.record import record_of
from appliance.machine.supervisor import AccessDenied, Supervisor
from appliance.machine_errors import explained
from appliance.names import MARKER
from appliance.run_dir import RunDir
from appliance.settings.config import Settings
from appliance.settings.installation import installation_root
from appliance.settings.redis_url import split_address

_START_TIMEOUT_S = 20.0
_COMPILE_TIMEOUT_S = 60.0
_KILL_TIMEOUT_S = 5.0
_POLL_INTERVAL_S = 0.1
_REDIS_STOP_S = 15  # supervisord stops it when the others are gone, and kills it after 10 s


def start(settings: Settings, redis_server: Path | None) -> None:
    """Start supervisord in the background; returns when it answers.

    Raises SettingsError if the machine contradicts the settings, SupervisorError if it does not start.
    """
    environment = export(settings, redis_server)
    prepare_run_dir(settings)
    write_secrets(settings)
    end_by_account(settings)
    renew_workers(settings)
    require_usable(settings, installation_root())
    _keep_boot_token(settings)
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


def _keep_boot_token(settings: Settings) -> None:
    """Let the digest of APPLIANCE_TOKEN be among the tokens; the proxy takes it from there to Redis."""
    if token := settings.appliance_token:
        secret, now_ms = token.get_secret_value(), int(time.time() * 1000)
        token_copy_of(settings).change(lambda table: token_table.with_boot_token(table, secret, now_ms))


def _compile_driver(settings: Settings, environment: dict[str, str]) -> None:
    """Let workers with user ids of their own find the driver compiled, which they may not do for each other.

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


def started_settings(settings: Settings) -> Settings | None:
    """Return the settings that the appliance in RUN_DIR was started with; None if it is not running.

    They may differ from those of the environment now: PORT=9000 may have been set for `up` alone.
    Raises SupervisorError if the appliance is another account's.
    """
    try:
        return recover(psutil.Process(Supervisor(settings.run_dir).pid()).environ())
    except AccessDenied:
        raise
    except SupervisorError:
        return None
    except (psutil.NoSuchProcess, psutil.AccessDenied) as error:
        raise SupervisorError(
            f"cannot look into the supervisord of {settings.run_dir}: {error}", "Use the account that started it."
        ) from error


def require_free_port(settings: Settings) -> None:
    """Raise SettingsError if the proxy could not listen on HOST and PRIVATE_HOSTNAME, or Redis on REDIS_LISTEN."""
    remedy = "Set HOST to an address of this machine, and PORT to 1024 or above unless root runs the appliance."
    _require_free(settings.host, settings.port, "PORT", remedy)
    if beside := door_beside_host(settings):
        remedy = (
            "The grid's other appliances reach this one there. Set PRIVATE_HOSTNAME to an address of this machine; or "
            "set HOST=0.0.0.0, if another machine forwards that address to this one."
        )
        _require_free(beside, settings.port, "PORT", remedy)
    if settings.redis_listen:
        host, port = split_address(settings.redis_listen)
        _require_free(host, port, "REDIS_LISTEN", "Set REDIS_LISTEN to an address of this machine, and a port.")


def _require_free(host: str, port: int, setting: str, remedy: str) -> None:
    where = f"{host} port {port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as listener:
            # as the proxy will: connections of an earlier run that linger are no obstacle
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(
                f"{where} is taken by {_owner(port)}",
                f"Stop that program, or set {setting} to another port. `applctl down` ends what an earlier run left.",
            ) from error
        raise SettingsError(f"cannot listen on {where}: {error.strerror}", remedy) from error


def _owner(port: int) -> str:
    for connection in psutil.net_connections("tcp"):
        # laddr is () only for a socket that is not bound
        listens = connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:] == (port,)
        if listens and connection.pid:
            return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return "another program"


def stop(settings: Settings, meanwhile: Callable[[], None] = lambda: None) -> bool:
    """Stop the appliance of RUN_DIR, and what an earlier run of it left. Returns False if nothing ran.

    Sessions have SHUTDOWN_GRACE to end. The wait is bounded; what is left then is killed. While it waits, it calls
    `meanwhile` several times a second.
    """
    supervisor = Supervisor(settings.run_dir)
    was_running = True
    if supervisor.running():
        _stop_family(supervisor, started_settings(settings) or settings, meanwhile)
    else:
        left = left_over(settings.run_dir)
        was_running = bool(left)
        _end(left)
    end_by_account(settings)
    for path in (settings.paths.supervisor_socket, settings.paths.supervisor_pid):  # left by one that was killed
        path.unlink(missing_ok=True)
    return was_running


def _stop_family(supervisor: Supervisor, settings: Settings, meanwhile: Callable[[], None]) -> None:
    """Let supervisord stop its processes and itself, and end what then is left of them."""
    root = psutil.Process(supervisor.pid())
    family = {root}
    supervisor.shutdown()
    deadline = Deadline(stop_wait_s(settings) + _REDIS_STOP_S)
    while _alive(root) and not deadline.is_over:
        family |= _children(root)
        meanwhile()
        time.sleep(_POLL_INTERVAL_S)
    _end(process for process in family if _alive(process))


def left_over(run_dir: Path) -> list[psutil.Process]:
    """Find the processes of a RUN_DIR whose supervisord does not answer: it was killed, say."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and _belongs(process, run_dir):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def end_by_account(settings: Settings) -> None:
    """Kill what workers with user ids of their own have left: a process may hide whose it is, but not its id.

    Others that have these user ids by chance are left alone.
    """
    accounts = accounts_of(settings)
    if accounts is None or os.geteuid() != 0:
        return
    deadline = Deadline(_KILL_TIMEOUT_S)
    while (left := _left_by_workers(accounts, settings.run_dir)) and not deadline.is_over:
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(_POLL_INTERVAL_S)


def require_unshared_uids(settings: Settings) -> None:
    """Raise SettingsError if processes that are not of this RUN_DIR have user ids of its workers."""
    accounts = accounts_of(settings)
    if accounts is None:
        return
    for process in _processes_of(accounts.uids):
        with suppress(psutil.NoSuchProcess):
            if _is_foreign(process, accounts, settings.run_dir):
                uids = f"{accounts.uids.start}-{accounts.uids.stop - 1}"
                raise SettingsError(
                    f"the user ids {uids} are for the workers of {settings.run_dir}, but process {process.pid} "
                    f"({process.name()}) has {process.uids().real}",
                    "Set BROWSER_UIDS to another range, or use another RUN_DIR: each takes 1200 user ids of the range.",
                )


def _left_by_workers(accounts: Accounts, run_dir: Path) -> list[psutil.Process]:
    found = []
    for process in _processes_of(accounts.uids):
        with suppress(psutil.NoSuchProcess):
            if _is_worker_of_another(process, accounts, run_dir):
                return []  # browsers may be the other appliance's
            if not _is_foreign(process, accounts, run_dir):
                found.append(process)
    return found


def _processes_of(uids: range) -> list[psutil.Process]:
    found = (process for process in psutil.process_iter(["uids"]) if process.info["uids"])
    return [process for process in found if process.info["uids"].real in uids and _alive(process)]


def _is_foreign(process: psutil.Process, accounts: Accounts, run_dir: Path) -> bool:
    """Whether a process with a user id of this RUN_DIR's workers is none of theirs, by what it cannot forge.

    All that workers start has the group of BROWSER_USER as its real one, and no rights to take another.
    """
    return process.gids().real != accounts.browser.gid or _is_worker_of_another(process, accounts, run_dir)


def _is_worker_of_another(process: psutil.Process, accounts: Accounts, run_dir: Path) -> bool:
    """Whether a process is a worker that another appliance of the same accounts has started: root gave it its id."""
    if process.uids().real not in accounts.own_uids:
        return False
    try:
        return process.environ().get("RUN_DIR", str(run_dir)) != str(run_dir)
    except psutil.AccessDenied:  # a container without CAP_SYS_PTRACE
        return False


def _belongs(process: psutil.Process, run_dir: Path) -> bool:
    """Processes have the environment that supervisord gave them, drivers and browsers their worker's folder in theirs.

    Only Redis writes its title over it.
    """
    if process.name().startswith(("redis-server", "valkey-server")):
        return any(str(RunDir(run_dir).redis_socket) in part for part in process.cmdline())
    environment = process.environ()
    if environment.get(MARKER, "").startswith(f"{RunDir(run_dir).workers}/"):
        return True
    return environment.get("RUN_DIR") == str(run_dir) and "REDIS_PROCESSES" in environment


def _end(processes: Iterable[psutil.Process]) -> None:
    """Ask processes to end, wait for them, and kill those that do not."""
    left = set(processes)
    for act in (psutil.Process.terminate, psutil.Process.kill):
        for process in left:
            try:
                act(process)
            except psutil.NoSuchProcess:
                continue
        deadline = Deadline(_KILL_TIMEOUT_S)
        while left and not deadline.is_over:
            left = {process for process in left if _alive(process)}
            time.sleep(_POLL_INTERVAL_S if left else 0)


def _children(process: psutil.Process) -> set[psutil.Process]:
    try:
        return set(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return set()


def _alive(process: psutil.Process) -> bool:
    """A zombie does not count: in a container nobody may ever fetch its exit status."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
