"""Dials a worker of this appliance: a connection to its driver's socket, and a handshake of the proxy's own."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import gevent

from appliance.errors import Blame, DialFailed
from proxy.handshake import Answer, Headers, parse_answer, worker_request

DIAL_TIMEOUT_S = 5.0  # a warm worker answers in milliseconds
ANSWER_MAX_BYTES = 64 * 1024

_OWN_ERRORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
_PATH_ERRORS = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ETIMEDOUT, errno.EACCES, errno.EPERM}
)


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection to a worker, and what it answered."""

    socket: socket.socket
    answer: Answer


def dial(forwarded: Headers, path: Path, limit_s: float = DIAL_TIMEOUT_S) -> Connection:
    """Connect to a driver's socket and ask it for a session, for `limit_s` seconds at most; raises DialFailed.

    `forwarded` are the client's headers that the driver sees.
    """
    silent = DialFailed(f"the driver at {path} does not answer within {limit_s:.1f} s", Blame.WORKER)
    connection: socket.socket | None = None
    try:
        with gevent.Timeout(limit_s, silent):
            connection = _connect(path)
            connection.sendall(worker_request(forwarded))
            answer = _receive_answer(connection)
            if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:  # ws answers so for a driver that is closing
                raise DialFailed(f"the driver at {path} is ending", Blame.WORKER)
            return Connection(connection, answer)
    except BaseException as error:  # whatever it is, also the greenlet's end
        _close(connection)
        if isinstance(error, (OSError, EOFError, ValueError)):
            raise DialFailed(f"the driver at {path} does not serve: {error}", blame_for(error)) from error
        raise


def blame_for(error: BaseException) -> Blame:
    """Return the part that an error of connecting, sending or receiving is to be blamed on."""
    number = error.errno if isinstance(error, OSError) else None
    if number in _OWN_ERRORS:
        return Blame.SELF
    return Blame.PATH if number in _PATH_ERRORS else Blame.WORKER


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
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
