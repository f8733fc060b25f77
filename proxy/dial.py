"""Dials a worker of this appliance: a connection to its driver's socket, and a handshake of the proxy's own."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import gevent

from appliance import logs
from appliance.errors import Blame, DialFailed
from appliance.run_dir import RunDir
from proxy.handshake import CDP, OWN_BROWSER, VISIT, Answer, Headers, parse_answer, worker_request

log = logs.get_logger()

DIAL_TIMEOUT_S = 5.0  # a warm worker answers in milliseconds
LAUNCH_TIMEOUT_S = 20.0  # one that launches a browser first, in 0.1 s if nothing else runs
ANSWER_MAX_BYTES = 64 * 1024
REASON_MAX = 300  # characters

# Not EADDRNOTAVAIL: Linux answers so for one destination, as for every IPv6 address where IPv6 is disabled.
_OWN_ERRORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection to a worker, and what it answered."""

    socket: socket.socket
    answer: Answer


def dial_worker(forwarded: Headers, run_dir: Path, worker_id: str) -> Connection:
    """Dial a worker of this appliance; raises DialFailed."""
    try:
        path = RunDir(run_dir).driver_socket(worker_id)
    except ValueError as error:  # no worker has such an id
        raise DialFailed(str(error), Blame.WORKER) from error
    return dial(forwarded, path)


def time_limit_s(forwarded: Headers) -> float:
    """Return the seconds within which a driver must answer this request."""
    launches = {OWN_BROWSER, CDP} & {*forwarded} and VISIT not in dict(forwarded)
    return LAUNCH_TIMEOUT_S if launches else DIAL_TIMEOUT_S


def dial(forwarded: Headers, path: Path, limit_s: float | None = None) -> Connection:
    """Connect to a driver's socket and ask it for a session; raises DialFailed, also if it takes too long.

    `forwarded` are the client's headers that the driver sees. The error is written for clients: it names the worker,
    and the log has the path. `limit_s` replaces the usual limit.
    """
    limit_s = time_limit_s(forwarded) if limit_s is None else limit_s
    driver = f"the driver of worker {RunDir.worker_name_at(path)}"
    silent = DialFailed(f"{driver} does not answer within {limit_s:.1f} s", Blame.WORKER)
    connection: socket.socket | None = None
    try:
        with gevent.Timeout(limit_s, silent):
            connection = connect(path)
            connection.sendall(worker_request(forwarded))
            answer = _receive_answer(connection)
            if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:  # ws answers so for a driver that is closing
                reason = answer.rest.decode(errors="replace").strip()[:REASON_MAX]
                raise DialFailed(f"{driver} does not serve: {reason or 'it is ending'}", Blame.WORKER)
            return Connection(connection, answer)
    except BaseException as error:  # whatever it is, also the greenlet's end
        _close(connection)
        if isinstance(error, (OSError, EOFError, ValueError, DialFailed)):
            log.info("dial.error", socket=str(path), error=str(error))
        if isinstance(error, (OSError, EOFError, ValueError)):
            # Also for EACCES: a browser that has escaped may change the mode of its worker's socket.
            blame = Blame.SELF if is_own(error) else Blame.WORKER
            raise DialFailed(f"{driver} does not serve: {error}", blame) from error
        raise


def is_own(error: BaseException) -> bool:
    """Whether this process lacks what it needs to connect, send or receive at all."""
    return isinstance(error, OSError) and error.errno in _OWN_ERRORS


def connect(path: Path) -> socket.socket:
    """Connect at once, or not at all: gevent would spin where the kernel says that the backlog is full (EAGAIN)."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.setblocking(False)
        connection.connect(str(path))
        connection.setblocking(True)
    except BaseException:
        connection.close()
        raise
    return connection


def _receive_answer(connection: socket.socket) -> Answer:
    """Read up to the end of the headers; of an answer other than 101, up to the end of the connection."""
    received = b""
    while (answer := parse_answer(received)) is None:
        received += _receive(connection, ANSWER_MAX_BYTES - len(received))
    if answer.status == 101:
        return answer
    try:
        while True:
            received += _receive(connection, ANSWER_MAX_BYTES - len(received))
    except (EOFError, ConnectionError):
        return Answer(answer.status, answer.head, received[len(answer.head) :])


def _receive(connection: socket.socket, room: int) -> bytes:
    if room <= 0:
        raise ValueError("the worker's answer is too long")
    if not (data := connection.recv(min(room, 16384))):
        raise EOFError("the worker closed the connection")
    return data


def _close(connection: socket.socket | None) -> None:
    if connection is not None:
        connection.close()
