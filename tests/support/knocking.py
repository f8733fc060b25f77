"""Who comes to an inner door without being an appliance, and who pretends to be one."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from appliance.machine.certificate import fingerprint
from proxy.door import protocol
from proxy.door.protocol import Hello, Seal
from proxy.handshake import Answer, parse_answer
from tests.support.certificates import Pair

TIMEOUT_S = 30


def trusting() -> ssl.SSLContext:
    """Return a client's context that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Knock:
    """A connection over TLS to an appliance's inner door."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        """Connect to a port of loopback."""
        plain = socket.create_connection((address, port), timeout=TIMEOUT_S)
        self.socket = trusting().wrap_socket(plain)
        self.certificate = fingerprint(self.socket.getpeercert(binary_form=True) or b"")
        self.sent = b""

    def __enter__(self) -> Knock:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self.socket.close()

    def say(self, data: bytes) -> None:
        """Send, and remember what was sent."""
        self.sent += data
        self.socket.sendall(data)

    def answer(self) -> Answer:
        """Read an HTTP answer with what follows its head, as far as that has come."""
        received = b""
        while (found := parse_answer(received)) is None:
            data = self.socket.recv(65536)
            assert data, f"the connection ended after {received!r}"
            received += data
        return found

    def greet(self, key: bytes, appliance: str) -> Seal:
        """Say hello with a key, and return the connection's own key."""
        nonce = protocol.new_nonce()
        self.say(Hello(protocol.key_id(key), nonce).as_request("grid"))
        other, proof = protocol.parse_welcome(self.answer())
        seal = Seal(key, (nonce, other), appliance, self.certificate)
        seal.check_proof(proof)
        return seal

    def message(self, seal: Seal, label: str) -> bytes:
        """Return the content of the next message, whose MAC must be right."""
        received = b""
        while (found := seal.open(label, received)) is None:
            data = self.socket.recv(65536)
            assert data, f"the connection ended after {received!r}"
            received += data
        return found[0]

    def rest(self) -> bytes:
        """Return what still comes until the other side ends."""
        received = b""
        with suppress(ConnectionError, ssl.SSLError):
            while data := self.socket.recv(65536):
                received += data
        return received


@dataclass
class Trap:
    """A listener on loopback that is no appliance; `heard` is what was sent to it, by connection."""

    port: int
    heard: list[bytes] = field(default_factory=list)


@contextmanager
def trap(answer: bytes = b"") -> Iterator[Trap]:
    """Listen, and answer whatever is asked with the same bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = Trap(listener.getsockname()[1])

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.settimeout(TIMEOUT_S)
                        found.heard.append(b"")
                        found.heard[-1] += connection.recv(65536)
                        connection.sendall(answer)
                        with suppress(OSError):
                            while data := connection.recv(65536):
                                found.heard[-1] += data

        threading.Thread(target=serve, daemon=True).start()
        yield found


@contextmanager
def between(port: int, pair: Pair) -> Iterator[Trap]:
    """Sit between a proxy and a port of loopback with a certificate of one's own; reads what it passes on."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as ends:
        found = Trap(listener.getsockname()[1])

        def serve() -> None:
            with suppress(OSError):
                while True:
                    front, _ = listener.accept()
                    found.heard.append(b"")
                    with suppress(OSError):
                        secured = ends.enter_context(context.wrap_socket(front, server_side=True))
                        plain = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
                        back = ends.enter_context(trusting().wrap_socket(plain))
                        threading.Thread(target=_pass_on, args=(back, secured), daemon=True).start()
                        threading.Thread(target=_pass_on, args=(secured, back, found), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield found


def _pass_on(source: ssl.SSLSocket, sink: ssl.SSLSocket, noted: Trap | None = None) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            if noted:
                noted.heard[-1] += data
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
