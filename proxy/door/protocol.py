"""What two proxies say to each other before a session passes between them. Pure: values and bytes in and out.

    the dialling proxy                            the answering proxy
    GET /inner, the key's id, a nonce        →
                                             ←    101, a nonce, its proof
    order: which worker, the client's headers →
                                             ←    verdict: what the driver answered, or why it was not asked
    … the session's bytes …                 ↔    … the session's bytes …

Rules
 1. Both know the grid's key (proxy/door/keys.py). From it each connection's own key is derived, with both nonces, the
    answering appliance's name, and the certificate of the connection (as RFC 5929's tls-server-end-point, always by
    SHA-256). So a recording is of no use later, and a man in the middle with a certificate of its own
    has connections with two different keys.
 2. The answering proxy proves itself first: an impostor learns nothing of a session.
 3. Order and verdict each carry a MAC under the connection's key. Errors are verdicts, too, so that their blame can
    be believed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from appliance.errors import Blame, DialFailed
from appliance.request_errors import BadRequest
from proxy.handshake import Answer, Headers
from proxy.request import INNER_PATH

PROTOCOL = "appliance-door-1"  # raised when these messages change: a proxy of another version then answers 426
NONCE_BYTES = 32
MESSAGE_MAX_BYTES = 256 * 1024  # a driver's answer is 64 KiB at most (proxy/dial.py)

_KEY_ID = re.compile(r"[0-9a-f]{16}")
_NONCE = re.compile(r"[0-9a-f]{64}")
_WELCOME = re.compile(rb"\r\nappliance-nonce: ([0-9a-f]{64})\r\nappliance-proof: ([0-9a-f]{64})\r\n")
_LENGTH_BYTES, _MAC_BYTES = 4, 32


class Unproven(Exception):
    """The other side does not prove that it belongs to the grid; it is not believed."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message: which key the dialling proxy has, and its nonce."""

    key_id: str
    nonce: bytes

    def as_request(self, host: str) -> bytes:
        """Return the HTTP request that carries it."""
        lines = [
            f"GET {INNER_PATH} HTTP/1.1",
            f"Host: {host}",
            "Connection: Upgrade",
            f"Upgrade: {PROTOCOL}",
            f"Appliance-Key: {self.key_id}",
            f"Appliance-Nonce: {self.nonce.hex()}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


@dataclass(frozen=True, slots=True)
class Order:
    """Which worker a session is for, and the client's headers that the worker will see.

    `appliance` is the dialling one and `session` the session's id: both go to the log.
    """

    appliance: str
    session: str
    worker: str
    headers: Headers

    def as_bytes(self) -> bytes:
        """Return it as JSON."""
        content = [self.appliance, self.session, self.worker, self.headers]
        return json.dumps(content).encode()


def key_id(key: bytes) -> str:
    """Return a key's name on the wire, which reveals nothing of the key."""
    return hashlib.sha256(b"appliance-door-key " + key).hexdigest()[:16]


def new_nonce() -> bytes:
    """Return a number that nobody has used before."""
    return secrets.token_bytes(NONCE_BYTES)


def parse_hello(headers: Mapping[str, str]) -> Hello:
    """Understand the request at INNER_PATH; raises BadRequest."""
    identifier, nonce = headers.get("appliance-key", ""), headers.get("appliance-nonce", "")
    if not (_KEY_ID.fullmatch(identifier) and _NONCE.fullmatch(nonce)):
        raise BadRequest("The request names no key and nonce of the inner door.")
    return Hello(identifier, bytes.fromhex(nonce))


def welcome(nonce: bytes, proof: str) -> bytes:
    """Return the answer to a hello."""
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        f"Upgrade: {PROTOCOL}",
        "Connection: Upgrade",
        f"Appliance-Nonce: {nonce.hex()}",
        f"Appliance-Proof: {proof}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def parse_welcome(answer: Answer) -> tuple[bytes, str]:
    """Return the nonce and proof in an answer; raises Unproven if it is no welcome."""
    if answer.status != HTTPStatus.SWITCHING_PROTOCOLS:
        raise Unproven(f"it answers {answer.status}")
    if not (found := _WELCOME.search(answer.head.lower())):
        raise Unproven("it does not speak the inner door's protocol")
    return bytes.fromhex(found.group(1).decode()), found.group(2).decode()


class Seal:
    """The key of one connection."""

    def __init__(self, key: bytes, nonces: tuple[bytes, bytes], appliance: str, certificate: str) -> None:
        """Derive it from the grid's key, the nonces of the dialling and the answering proxy, and their connection.

        `appliance` is the answering one; `certificate` is the fingerprint of its certificate, "" without TLS.
        """
        parts = [PROTOCOL, *(nonce.hex() for nonce in nonces), appliance, certificate]
        self._key = hmac.digest(key, json.dumps(parts).encode(), "sha256")

    def proof(self) -> str:
        """Return what only a holder of the grid's key can say on this connection."""
        return self._mac("proof", b"").hex()

    def check_proof(self, proof: str) -> None:
        """Raise Unproven if the answering proxy's proof is not right."""
        if not hmac.compare_digest(proof, self.proof()):
            raise Unproven("it does not prove that it has the grid's key")

    def close(self, label: str, content: bytes) -> bytes:
        """Return a message with its length and its MAC."""
        return len(content).to_bytes(_LENGTH_BYTES, "big") + content + self._mac(label, content)

    def open(self, label: str, received: bytes) -> tuple[bytes, bytes] | None:
        """Return a message's content and the bytes that follow it; None while it is not complete. Raises Unproven."""
        size = int.from_bytes(received[:_LENGTH_BYTES], "big")
        if len(received) >= _LENGTH_BYTES and size > MESSAGE_MAX_BYTES:
            raise Unproven("its message is too long")
        end = _LENGTH_BYTES + size + _MAC_BYTES
        if len(received) < end:
            return None
        content, mac = received[_LENGTH_BYTES : end - _MAC_BYTES], received[end - _MAC_BYTES : end]
        if not hmac.compare_digest(mac, self._mac(label, content)):
            raise Unproven(f"its {label} is not signed with the grid's key")
        return content, received[end:]

    def _mac(self, label: str, content: bytes) -> bytes:
        return hmac.digest(self._key, label.encode() + b"\0" + content, "sha256")


def parse_order(content: bytes) -> Order:
    """Understand an order, whose MAC was right."""
    appliance, session, worker, headers = json.loads(content)
    return Order(appliance, session, worker, tuple((name, value) for name, value in headers))


def verdict(answer: Answer) -> bytes:
    """Return a driver's answer as a verdict; that of 101 has in `rest` what the driver has said since."""
    return json.dumps({"status": answer.status, **_texts(head=answer.head, rest=answer.rest)}).encode()


def failure(error: DialFailed) -> bytes:
    """Return a verdict that the worker was not reached."""
    return json.dumps({"failure": str(error), "blame": error.blame}).encode()


def parse_verdict(content: bytes) -> Answer:
    """Return the driver's answer in a verdict whose MAC was right; raises DialFailed if the worker was not reached.

    What the other appliance has itself to blame for is not the worker's fault, and not this proxy's own.
    """
    said = json.loads(content)
    if "failure" in said:
        blame = Blame.WORKER if said["blame"] == Blame.WORKER else Blame.PATH
        raise DialFailed(said["failure"], blame)
    return Answer(said["status"], base64.b64decode(said["head"]), base64.b64decode(said["rest"]))


def _texts(**parts: bytes) -> dict[str, str]:
    return {name: base64.b64encode(data).decode() for name, data in parts.items()}
