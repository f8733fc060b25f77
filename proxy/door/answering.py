"""The inner door itself: admits sessions from other appliances' proxies to the workers of this one."""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable
from contextlib import closing
from http import HTTPStatus

import gevent

from appliance import logs
from appliance.errors import Blame, ClientGone, DialFailed
from appliance.names import WorkerId
from appliance.request_errors import BadRequest, RequestTimedOut, Unauthorized
from appliance.settings.config import Settings
from proxy import tcp
from proxy.dial import Connection, dial_worker
from proxy.door import protocol
from proxy.door.exchange import NothingSaid, receive_message
from proxy.door.keys import Keys
from proxy.door.protocol import Order, Seal, Unproven
from proxy.limits import Watchdog
from proxy.relay import Relay
from proxy.request import Request

log = logs.get_logger()

ORDER_TIMEOUT_S = 30.0  # for proxies greet before they have a session, so that it need not wait (dialling.py)


class InnerDoor:
    """The sessions of other appliances' clients that this proxy passes on to its own workers."""

    def __init__(self, settings: Settings, keys: Keys, watchdog: Watchdog) -> None:
        """Set the settings, the grid's key, and the watchdog of the relays."""
        self._name, self._run_dir = settings.appliance_name, settings.run_dir
        self._keys = keys
        self._watchdog = watchdog
        self._orders = 0
        self._relays: set[Relay] = set()
        self._ended_for = ""

    def __len__(self) -> int:
        """Count the sessions that pass here, or are about to."""
        return self._orders

    def end_all(self, reason: str) -> None:
        """End every session that passes here, for good."""
        self._ended_for = reason
        for relay in list(self._relays):
            relay.end(reason)

    def welcome(self, connection: socket.socket, request: Request) -> Callable[[], None] | None:
        """Prove which appliance this is; return what serves the other proxy's order, None if it has none.

        Raises RequestError for a request that cannot be answered at the door, and ClientGone for a proxy that does not
        prove itself, which gets no answer.
        """
        if request.headers.get("upgrade") != protocol.PROTOCOL or (request.method, request.version) != ("GET", "1.1"):
            raise BadRequest(f"This path is for the grid's other appliances, which speak {protocol.PROTOCOL}.")
        hello = protocol.parse_hello(request.headers)
        if (key := self._keys.find(hello.key_id)) is None:
            raise Unauthorized("This grid has no such key.", "This path is for the grid's other appliances.")
        nonce = protocol.new_nonce()
        seal = Seal(key, (hello.nonce, nonce), self._name, getattr(connection, "certificate", ""))
        try:
            with gevent.Timeout(ORDER_TIMEOUT_S, RequestTimedOut("no order came")):
                connection.sendall(protocol.welcome(nonce, seal.proof()))
                content, rest = receive_message(connection, seal, "order", request.rest)
            return functools.partial(self._count, connection, seal, protocol.parse_order(content), rest)
        except NothingSaid:
            return None
        except (OSError, EOFError, ValueError, TypeError, Unproven, RequestTimedOut) as error:
            raise ClientGone(f"it gave no order at the inner door: {error}") from error

    def _count(self, connection: socket.socket, seal: Seal, order: Order, rest: bytes) -> None:
        """Count one session for as long as it is served."""
        self._orders += 1
        try:
            self._serve(connection, seal, order, rest)
        finally:
            self._orders -= 1

    def _serve(self, connection: socket.socket, seal: Seal, order: Order, rest: bytes) -> None:
        """Serve one session, from the order to the last byte."""
        try:
            worker = self._dial(order)
        except DialFailed as error:
            log.warning("inner.refused", session=order.session, worker=order.worker, error=str(error))
            tcp.say_goodbye(connection, seal.close("verdict", protocol.failure(error)))
            return
        try:
            connection.sendall(seal.close("verdict", protocol.verdict(worker.answer)))
            if worker.answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
                # The worker's word goes to the session's own proxy, which waits for it.
                self._relay(Relay(connection, worker.socket, rest, worker.answer.rest, word_timeout_s=0), order)
        except OSError as error:
            raise ClientGone(str(error)) from error
        finally:
            worker.socket.close()

    def _dial(self, order: Order) -> Connection:
        """Connect to a worker of this appliance; raises DialFailed."""
        if WorkerId.parse(order.worker).appliance != self._name:
            raise DialFailed(f"worker {order.worker} is not one of appliance {self._name}", Blame.WORKER)
        return dial_worker(order.headers, self._run_dir, order.worker)

    def _relay(self, relay: Relay, order: Order) -> None:
        name = WorkerId.parse(order.worker).name
        log.info("inner.started", session=order.session, worker=order.worker, of=order.appliance)
        self._relays.add(relay)
        with closing(relay):
            try:
                if self._ended_for:
                    relay.end(self._ended_for)
                with self._watchdog.watch_inner(relay):
                    relay.run(f"worker {name} crashed")
            finally:
                self._relays.discard(relay)
                log.info("inner.ended", session=order.session, reason=relay.end_reason, bytes=relay.bytes_relayed)
            relay.finish()
