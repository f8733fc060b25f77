"""The inner door's messages: what is proven, and that nothing else is believed."""

from __future__ import annotations

import pytest

from appliance.errors import Blame, DialFailed
from appliance.request_errors import BadRequest
from proxy.door import protocol
from proxy.door.protocol import MESSAGE_MAX_BYTES, Hello, Order, Seal, Unproven
from proxy.handshake import Answer, parse_answer
from proxy.request import INNER_PATH, RequestParser

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
NONCES = b"a" * 32, b"b" * 32
CERTIFICATE, OTHER_CERTIFICATE = "c" * 64, "d" * 64
ORDER = Order("grid-1", "s1", "grid-2.chromium-00.abcdef", (("User-Agent", "Playwright/1.65.1 é"), ("x-a", "1")))


def seal(key: bytes = KEY, nonces: tuple[bytes, bytes] = NONCES, name: str = "grid-2", certificate: str = "") -> Seal:
    return Seal(key, nonces, name, certificate)


OTHERS = [
    pytest.param(seal(key=OTHER_KEY), id="another key"),
    pytest.param(seal(nonces=(NONCES[0], b"c" * 32)), id="another connection of the same dialling proxy"),
    pytest.param(seal(nonces=(b"c" * 32, NONCES[1])), id="another connection of the same answering proxy"),
    pytest.param(seal(nonces=(NONCES[1], NONCES[0])), id="the other direction"),
    pytest.param(seal(name="grid-3"), id="another appliance"),
    pytest.param(seal(certificate=CERTIFICATE), id="another certificate"),
]


def test_a_hello_passes_as_a_request_of_http() -> None:
    hello = Hello(protocol.key_id(KEY), NONCES[0])
    request = RequestParser().feed(hello.as_request("10.0.0.12:8080"))
    assert request
    assert (request.path, request.headers["upgrade"]) == (INNER_PATH, protocol.PROTOCOL)
    assert protocol.parse_hello(request.headers) == hello


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"appliance-key": "0123456789abcdef"},
        {"appliance-key": "../../etc/passwd", "appliance-nonce": "0" * 64},
        {"appliance-key": "0123456789abcdef", "appliance-nonce": "0" * 62},
        {"appliance-key": "0123456789abcdef, 0123456789abcdef", "appliance-nonce": "0" * 64},
    ],
)
def test_a_hello_without_a_key_and_a_nonce_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        protocol.parse_hello(headers)


def test_a_welcome_tells_the_nonce_and_the_proof() -> None:
    answer = parse_answer(protocol.welcome(NONCES[1], seal().proof()) + b"rest")
    assert answer
    assert protocol.parse_welcome(answer) == (NONCES[1], seal().proof())
    assert answer.rest == b"rest"


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\n\r\nappliance-nonce: ",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 X\r\nAppliance-Nonce: zz\r\nAppliance-Proof: zz\r\n\r\n",
    ],
)
def test_what_is_no_welcome_proves_nothing(said: bytes) -> None:
    answer = parse_answer(said)
    assert answer
    with pytest.raises(Unproven):
        protocol.parse_welcome(answer)


@pytest.mark.parametrize("other", OTHERS)
def test_a_proof_is_of_one_connection_alone(other: Seal) -> None:
    seal().check_proof(seal().proof())
    with pytest.raises(Unproven):
        seal().check_proof(other.proof())


@pytest.mark.parametrize("other", OTHERS)
def test_a_message_is_of_one_connection_alone(other: Seal) -> None:
    message = seal().close("order", b"content")
    assert seal().open("order", message + b"rest") == (b"content", b"rest")
    with pytest.raises(Unproven):
        other.open("order", message)


def test_a_message_is_believed_whole_and_unchanged_and_in_its_place_alone() -> None:
    message = seal().close("order", ORDER.as_bytes())
    assert not any(seal().open("order", message[:size]) for size in range(len(message)))
    with pytest.raises(Unproven):
        seal().open("verdict", message)
    for place in range(4, len(message)):
        with pytest.raises(Unproven):
            seal().open("order", message[:place] + bytes([message[place] ^ 1]) + message[place + 1 :])


def test_a_message_that_is_too_long_is_not_read_to_its_end() -> None:
    with pytest.raises(Unproven):
        seal().open("order", (MESSAGE_MAX_BYTES + 1).to_bytes(4, "big"))


def test_a_proof_cannot_be_used_as_a_message() -> None:
    with pytest.raises(Unproven):
        seal().open("order", bytes(4) + bytes.fromhex(seal().proof()))


def test_an_order_and_a_verdict_arrive_as_they_were_sent() -> None:
    assert protocol.parse_order(ORDER.as_bytes()) == ORDER
    answer = Answer(101, b"HTTP/1.1 101 X\r\n\r\n", bytes(range(256)))
    assert protocol.parse_verdict(protocol.verdict(answer)) == answer


@pytest.mark.parametrize(
    ("there", "here"),
    [(Blame.WORKER, Blame.WORKER), (Blame.SELF, Blame.PATH), (Blame.PATH, Blame.PATH)],
)
def test_what_the_other_appliance_has_to_blame_itself_for_is_not_the_workers_fault(there: Blame, here: Blame) -> None:
    with pytest.raises(DialFailed, match="no descriptors") as failed:
        protocol.parse_verdict(protocol.failure(DialFailed("no descriptors", there)))
    assert failed.value.blame is here
