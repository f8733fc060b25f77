"""A request is understood in one way only, or refused with a sentence, however its bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.request_errors import BadRequest, MethodNotAllowed, RequestError, RequestTooLarge
from proxy.request import HEAD_MAX_BYTES, Request, RequestParser

PLAIN = b"GET /?name=a%20b HTTP/1.1\r\nHost: h\r\nUser-Agent: Playwright/1.65.1 (\xe9)\r\nX-A: 1\r\nx-a: 2\r\n\r\n"


def parse(data: bytes) -> Request | None:
    return RequestParser().feed(data)


@given(st.lists(st.integers(1, len(PLAIN)), max_size=5))
def test_a_request_may_come_in_any_pieces(cuts: list[int]) -> None:
    parser, found, data = RequestParser(), None, PLAIN + b"\x81\x00"
    edges = sorted({0, len(data), *cuts})
    for start, end in itertools.pairwise(edges):
        assert found is None or start >= len(PLAIN)
        if found is None:
            found = parser.feed(data[start:end])
    assert found is not None
    assert (found.target, found.path, found.version) == ("/?name=a%20b", "/", "1.1")
    assert found.headers["x-a"] == "1, 2"
    assert found.headers["user-agent"] == "Playwright/1.65.1 (\xe9)"
    assert found.head == PLAIN
    assert (b"\x81\x00").startswith(found.rest)


def test_names_reach_the_worker_as_they_were_written() -> None:
    found = parse(PLAIN)
    assert found
    assert [name for name, _ in found.items] == ["Host", "User-Agent", "X-A", "x-a"]


@pytest.mark.parametrize(
    ("line", "more"),
    [
        ("nonsense", ""),
        ("GET /", ""),
        ("GET  / HTTP/1.1", ""),
        ("GET / HTTP/1.1 ", ""),
        ("GET / HTTP/2.0", ""),
        ("GET / HTTP/0.9", ""),
        ("GET http://h/ HTTP/1.1", ""),
        ("GET * HTTP/1.1", ""),
        ("GET /\xe9 HTTP/1.1", ""),
        ("GET /\x00 HTTP/1.1", ""),
        ("GET / HTTP/1.1", "Host: other"),
        ("GET / HTTP/1.1", "X-A: a\x00b"),
        ("GET / HTTP/1.1", "X-A: a\x01b"),
        ("GET / HTTP/1.1", "X-A: a\r\n b"),
        ("GET / HTTP/1.1", "X A: a"),
        ("GET / HTTP/1.1", "X-A : a"),
        ("GET / HTTP/1.1", "no colon"),
        ("GET / HTTP/1.1", "\xe9: a"),
        ("GET / HTTP/1.1", "Content-Length: 1"),
        ("GET / HTTP/1.1", "Content-Length: x"),
        ("GET / HTTP/1.1", "Content-Length: 1\r\nContent-Length: 2"),
        ("GET / HTTP/1.1", "Transfer-Encoding: chunked"),
        ("GET / HTTP/1.1", "Transfer-Encoding: gzip"),
        ("GET / HTTP/1.1", "Sec-WebSocket-Key: a\r\nSec-WebSocket-Key: a"),
        ("GET / HTTP/1.1", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8"),
        ("GET / HTTP/1.1", "Origin: null\r\nOrigin: "),
    ],
)
def test_a_malformed_request_is_refused(line: str, more: str) -> None:
    with pytest.raises(BadRequest):
        parse("\r\n".join([line, "Host: h", *([more] if more else []), "\r\n"]).encode("latin-1"))


@pytest.mark.parametrize(
    "data", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"]
)
def test_what_is_no_request_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(RequestError):
        parse(data)


@pytest.mark.parametrize("data", [b"GET /?token=secret nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nX : secret\r\n\r\n"])
def test_a_refusal_repeats_nothing_that_may_be_secret(data: bytes) -> None:
    with pytest.raises(BadRequest) as raised:
        parse(data)
    assert "secret" not in f"{raised.value} {raised.value.hint}"


def test_a_post_is_not_answered() -> None:
    with pytest.raises(MethodNotAllowed):
        parse(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")


def test_operators_pages_may_have_any_method_and_a_body_in_one_piece() -> None:
    found = parse(b"PATCH /api/v1/tokens HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc")
    assert found
    assert (found.method, found.body_bytes, found.rest) == ("PATCH", 5, b"abc")
    assert parse(b"POST /dashboard HTTP/1.1\r\nHost: h\r\n\r\n")
    for line, more, refusal in (
        ("POST /apis", "", MethodNotAllowed),
        ("POST /%61pi/v1/tokens", "", MethodNotAllowed),
        ("GET /metrics", "Content-Length: 1", BadRequest),
        ("POST /api/v1/tokens", "Transfer-Encoding: chunked", BadRequest),
    ):
        with pytest.raises(refusal):
            parse("\r\n".join([f"{line} HTTP/1.1", "Host: h", *([more] if more else []), "\r\n"]).encode())


def test_an_agents_request_has_a_body_of_which_the_beginning_may_have_come() -> None:
    found = parse(b"POST /mcp?name=a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc")
    assert found
    assert (found.method, found.body_bytes, found.rest) == ("POST", 5, b"abc")


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        (b"POST /mcp HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", BadRequest),
        (b"POST /mcp/ HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n", MethodNotAllowed),
        (b"GET /mcp HTTP/1.1\r\nHost: h\r\n\r\n", MethodNotAllowed),
        (b"OPTIONS /mcp HTTP/1.1\r\nHost: h\r\n\r\n", MethodNotAllowed),
    ],
)
def test_agents_have_two_methods_and_bodies_in_one_piece(data: bytes, refusal: type[RequestError]) -> None:
    with pytest.raises(refusal):
        parse(data)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: h\r\nX-A: " + b"a" * HEAD_MAX_BYTES + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX-A: " + b"a" * HEAD_MAX_BYTES,
        b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X-A: a\r\n" * 100 + b"\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        b"G" * (HEAD_MAX_BYTES + 1),
    ],
)
def test_a_request_that_is_too_large_is_refused(data: bytes) -> None:
    with pytest.raises(RequestTooLarge):
        parse(data)


def test_as_many_bytes_and_headers_as_are_allowed_pass() -> None:
    start = b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X-A: a\r\n" * 97 + b"X-B: "
    found = parse(start + b"b" * (HEAD_MAX_BYTES - len(start) - 4) + b"\r\n\r\n")
    assert found
    assert len(found.head) == HEAD_MAX_BYTES
    assert len(found.items) == 99


@given(st.binary(max_size=200), st.sampled_from([b"", PLAIN[:-4], PLAIN[:-2], PLAIN]))
def test_no_bytes_raise_anything_else_than_a_refusal(junk: bytes, before: bytes) -> None:
    parser, status = RequestParser(), 0
    try:
        for piece in filter(None, (before, junk, b"\r\n\r\n")):
            if parser.feed(piece):
                break
    except RequestError as error:
        status = error.status
    assert status in (0, 400, 405, 431)
