"""Dials workers of other appliances, through those appliances' proxies."""

from __future__ import annotations

import hmac
import socket
import ssl

import gevent

from appliance import logs
from appliance.config import Settings
from appliance.errors import Blame, DialFailed
from appliance.models import Door, Grant
from appliance.registry import Appliances
from appliance.relations import is_loopback
from proxy import tcp, tls
from proxy.dial import DIAL_TIMEOUT_S, Connection, blame_for
from proxy.door import places, protocol
from proxy.door.exchange import HEAD_MAX_BYTES, receive, receive_message
from proxy.door.keys import Keys
from proxy.door.places import Places
from proxy.door.protocol import Hello, Order, Seal, Unproven
from proxy.handshake import Answer, Headers, parse_answer

log = logs.get_logger()

REACH_TIMEOUT_S = 4.0  # for the other proxy to be reached and to prove itself
VERDICT_TIMEOUT_S = DIAL_TIMEOUT_S + 2.0  # it dials its driver meanwhile, and is to say itself if that takes too long
AGAIN_S = 0.1  # until the second try, by when an appliance has announced a change of its key, place or certificate


class Neighbours:
    """The other appliances of the grid, as one proxy reaches their workers."""

    def __init__(self, settings: Settings, appliances: Appliances, keys: Keys) -> None:
        """Set the settings, and where to learn of the others' places and of the grid's key."""
        self._name = settings.appliance_name
        self._peers = settings.peers
        self._allow_loopback = is_loopback(settings.private_hostname)
        self._places = Places(appliances)
        self._keys = keys

    def dial(self, forwarded: Headers, grant: Grant) -> Connection:
        """Connect to a worker of another appliance, and ask it for a session with the client's headers.

        Raises DialFailed, in words that a client may read, and StoreUnavailable.
        """
        order = Order(self._name, grant.session_id, grant.worker_id, forwarded)
        try:
            return self._dial(grant.appliance, order)
        except Unproven as error:  # perhaps what is known here is old
            log.info("door.again", appliance=grant.appliance, error=str(error))
            gevent.sleep(AGAIN_S)
            self._keys.refresh()
        try:
            return self._dial(grant.appliance, order)
        except Unproven as error:
            raise DialFailed(f"what answers for appliance {grant.appliance}: {error}", Blame.PATH) from error

    def _dial(self, appliance: str, order: Order) -> Connection:
        door = self._places.of(appliance)
        late = DialFailed(f"appliance {appliance} does not answer at {door.address}:{door.port}", Blame.PATH)
        connection = None
        try:
            with gevent.Timeout(REACH_TIMEOUT_S, late):
                connection = self._connect(door)
                seal, rest = self._greet(connection, appliance, door)
            with gevent.Timeout(VERDICT_TIMEOUT_S, late):
                connection.sendall(seal.close("order", order.as_bytes()))
                content, rest = receive_message(connection, seal, "verdict", rest)
            answer = protocol.parse_verdict(content)
            return Connection(connection, Answer(answer.status, answer.head, answer.rest + rest))
        except BaseException as error:  # whatever it is, also the greenlet's end
            self._places.doubt(appliance)
            if connection is not None:
                connection.close()
            if isinstance(error, (OSError, EOFError, ValueError)):
                raise self._not_reached(appliance, door, error) from error
            raise

    def _connect(self, door: Door) -> socket.socket:
        """Connect to the address that an appliance announced, over TLS if it has a certificate there."""
        address = places.address_of(door, self._peers, self._allow_loopback)
        connection = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
        try:
            tcp.tune(connection)
            connection.connect((str(address), door.port))
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

    def _greet(self, connection: socket.socket, appliance: str, door: Door) -> tuple[Seal, bytes]:
        """Let the other side prove itself; returns the connection's key, and what came after the proof."""
        key, nonce = self._keys.current(), protocol.new_nonce()
        connection.sendall(Hello(protocol.key_id(key), nonce).as_request(_host(door)))
        welcome = receive(connection, parse_answer, most=HEAD_MAX_BYTES)
        other, proof = protocol.parse_welcome(welcome)
        seal = Seal(key, (nonce, other), appliance, door.certificate)
        seal.check_proof(proof)
        return seal, welcome.rest

    def _not_reached(self, appliance: str, door: Door, error: Exception) -> DialFailed:
        blame = Blame.SELF if blame_for(error) is Blame.SELF else Blame.PATH  # of the worker nothing was heard
        why = error.strerror if isinstance(error, OSError) else error
        return DialFailed(f"appliance {appliance} is not reached at {door.address}:{door.port}: {why}", blame)


def _host(door: Door) -> str:
    address = f"[{door.address}]" if ":" in door.address else door.address
    return f"{address}:{door.port}"
