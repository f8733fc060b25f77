"""Dials workers of other appliances, through those appliances' proxies.

A line is a connection whose other side has proven which appliance it is. After each session a spare line to its
appliance is opened, so that the next one costs no more than a question and its answer.
"""

from __future__ import annotations

import hmac
import socket
import ssl
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass

import gevent

from appliance import logs
from appliance.deadline import Deadline
from appliance.errors import Blame, DialFailed
from appliance.grid.grid import Grid
from appliance.grid.values import Door, Grant
from appliance.request_errors import StoreUnavailable
from appliance.settings.config import Settings
from appliance.settings.networks import is_loopback
from proxy import tcp, tls
from proxy.dial import Connection, is_own, time_limit_s
from proxy.door import places, protocol
from proxy.door.exchange import HEAD_MAX_BYTES, receive, receive_message
from proxy.door.keys import Keys
from proxy.door.places import Address, Places
from proxy.door.protocol import Hello, Order, Seal, Unproven
from proxy.handshake import Answer, Headers, parse_answer

log = logs.get_logger()

REACH_TIMEOUT_S = 4.0  # for the other proxy to be reached and to prove itself
VERDICT_S = 2.0  # beyond a dial's limit: the other proxy reports itself if its driver takes too long
AGAIN_S = 0.1  # until the second try, by when an appliance has announced a change of its key, place or certificate

SPARES_MAX = 4  # for each appliance
SPARE_AFTER_S = 0.2  # when the session that was dialled has had its first page
SPARE_KEPT_S = 20.0  # less than the other side waits for an order (proxy/door/answering.py)


@dataclass(eq=False, slots=True)
class Line:
    """A connection to an appliance that has proven itself; `rest` is what it has said since."""

    socket: socket.socket
    seal: Seal
    rest: bytes

    @property
    def is_open(self) -> bool:
        """Whether the other side has said nothing: all that it could say now is that it ends."""
        try:
            getattr(self.socket, "_sock", self.socket).recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


class Neighbours:
    """The other appliances of the grid, as one proxy reaches their workers."""

    def __init__(self, settings: Settings, grid: Grid, keys: Keys) -> None:
        """Set the settings, and where to learn of the others' places and of the grid's key."""
        self._name = settings.appliance_name
        self._peers = settings.peers
        self._allow_loopback = is_loopback(settings.private_hostname)
        self._places = Places(grid)
        self._keys = keys
        self._spares: dict[str, list[Line]] = defaultdict(list)
        self._spares_to_come: Counter[str] = Counter()

    def dial(self, forwarded: Headers, grant: Grant) -> Connection:
        """Connect to a worker of another appliance, and ask it for a session with the client's headers.

        Raises DialFailed, in words that a client may read, and StoreUnavailable.
        """
        order = Order(self._name, grant.session_id, grant.worker_id, forwarded)
        connection = self._ask_by_spare(grant.appliance, order)
        if connection is None:
            connection = self._ask(grant.appliance, self._open_surely(grant.appliance), order)
        gevent.spawn_later(SPARE_AFTER_S, self._make_spare, grant.appliance)
        return connection

    def _ask_by_spare(self, appliance: str, order: Order) -> Connection | None:
        """Ask by a spare line; returns None if there is none, or if it has been closed in the meantime."""
        lines = self._spares[appliance]
        while lines:
            line = lines.pop()
            try:
                if line.is_open:
                    return self._ask(appliance, line, order)
                line.socket.close()
            except _Lost as lost:
                log.debug("door.spare_lost", appliance=appliance, error=str(lost))
        return None

    def _make_spare(self, appliance: str) -> None:
        lines = self._spares[appliance]
        if len(lines) + self._spares_to_come[appliance] >= SPARES_MAX:
            return
        self._spares_to_come[appliance] += 1
        try:
            line = self._open(appliance)
        except (DialFailed, Unproven, StoreUnavailable) as error:  # the next session will find it out, too
            log.debug("door.no_spare", appliance=appliance, error=str(error))
            return
        finally:
            self._spares_to_come[appliance] -= 1
        lines.append(line)
        gevent.sleep(SPARE_KEPT_S)
        if line in lines:
            lines.remove(line)
            line.socket.close()

    def _open_surely(self, appliance: str) -> Line:
        """Open a line, with a second try if what is known here may be old; raises DialFailed and StoreUnavailable."""
        try:
            return self._open(appliance)
        except Unproven as error:
            log.info("door.retried", appliance=appliance, error=str(error))
            gevent.sleep(AGAIN_S)
            self._keys.refresh()
        try:
            return self._open(appliance)
        except Unproven as error:
            raise DialFailed(f"what answers for appliance {appliance}: {error}", Blame.PATH) from error

    def _open(self, appliance: str) -> Line:
        """Open a line to an appliance; raises DialFailed, Unproven and StoreUnavailable."""
        door = self._places.of(appliance)
        late = DialFailed(f"appliance {appliance} does not answer at {_host(door)}", Blame.PATH)
        connection = None
        try:
            with gevent.Timeout(REACH_TIMEOUT_S, late):
                connection = self._connect(door)
                return self._greet(connection, appliance, door)
        except BaseException as error:  # whatever it is, also the greenlet's end
            self._places.doubt(appliance)
            if connection is not None:
                connection.close()
            # The last two for what may be announced: a port beyond 65535, a certificate that is not ASCII.
            if isinstance(error, (OSError, EOFError, ValueError, OverflowError, TypeError)):
                raise _not_reached(appliance, door, error) from error
            raise

    def _connect(self, door: Door) -> socket.socket:
        """Connect to the place that an appliance announced, over TLS if it has a certificate there."""
        connection = _connect_to_one(places.addresses_of(door, self._peers, self._allow_loopback), door.port)
        try:
            if not door.certificate:
                return connection
            connection = secured = tls.secure_dialled(connection)
            if not hmac.compare_digest(secured.certificate, door.certificate):
                raise Unproven("its certificate is not the one that the appliance announced")
            return secured
        except BaseException as error:
            connection.close()
            if isinstance(error, ssl.SSLError):
                raise Unproven(f"it does not speak TLS as announced: {error.reason}") from error
            raise

    def _greet(self, connection: socket.socket, appliance: str, door: Door) -> Line:
        """Greet the other side; return the line if it proves itself."""
        key, nonce = self._keys.current(), protocol.new_nonce()
        connection.sendall(Hello(protocol.key_id(key), nonce).as_request(_host(door)))
        welcome = receive(connection, parse_answer, most=HEAD_MAX_BYTES)
        other, proof = protocol.parse_welcome(welcome)
        seal = Seal(key, (nonce, other), appliance, door.certificate)
        seal.check_proof(proof)
        return Line(connection, seal, welcome.rest)

    def _ask(self, appliance: str, line: Line, order: Order) -> Connection:
        """Send the order, and return the worker's answer.

        Raises DialFailed, and _Lost if the line ends before the verdict.
        """
        silent = DialFailed(f"appliance {appliance} does not answer", Blame.PATH)
        try:
            with gevent.Timeout(time_limit_s(order.headers) + VERDICT_S, silent):
                line.socket.sendall(line.seal.close("order", order.as_bytes()))
                content, rest = receive_message(line.socket, line.seal, "verdict", line.rest)
            answer = protocol.parse_verdict(content)
            return Connection(line.socket, Answer(answer.status, answer.head, answer.rest + rest))
        except BaseException as error:  # whatever it is, also the greenlet's end
            line.socket.close()
            if isinstance(error, (OSError, EOFError, ValueError, Unproven)):
                raise _Lost(appliance, str(error)) from error
            raise


class _Lost(DialFailed):
    """A line ended before the verdict came."""

    def __init__(self, appliance: str, why: str) -> None:
        super().__init__(f"the connection to appliance {appliance} was lost: {why}", Blame.PATH)


def _connect_to_one(addresses: list[Address], port: int) -> socket.socket:
    """Connect to the first of some addresses that accepts; raises what the last one fails with.

    Each but the last has an equal share of the time that is left, so that one that is silent costs no other its turn.
    """
    *first, last = addresses
    deadline = Deadline(REACH_TIMEOUT_S)
    for position, address in enumerate(first):
        share_s = deadline.left_s / (len(addresses) - position + 1)  # the greeting has one, too
        with suppress(OSError), gevent.Timeout(share_s, TimeoutError()):
            return _connect_to(address, port)
    return _connect_to(last, port)


def _connect_to(address: Address, port: int) -> socket.socket:
    connection = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        tcp.tune(connection)
        connection.connect((str(address), port))
        return connection
    except BaseException:
        connection.close()
        raise


def _not_reached(appliance: str, door: Door, error: Exception) -> DialFailed:
    blame = Blame.SELF if is_own(error) else Blame.PATH  # of the worker nothing was heard
    why = error.strerror if isinstance(error, OSError) else error
    return DialFailed(f"appliance {appliance} is not reached at {_host(door)}: {why}", blame)


def _host(door: Door) -> str:
    address = f"[{door.address}]" if ":" in door.address else door.address
    return f"{address}:{door.port}"
