"""What an agent's client and the proxy say to each other."""

from __future__ import annotations

import json

import pytest

from appliance.request_errors import BadRequest
from proxy.mcp import messages


def body(**fields: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **fields}).encode()


@pytest.mark.parametrize("number", [0, 7, "a", None])
def test_a_message_has_method_id_and_parameters(number: object) -> None:
    found = messages.parse(body(id=number, method="ping", params={"a": 1}))
    assert (found.method, found.id, found.params) == ("ping", number, {"a": 1})


def test_an_answer_to_the_server_asks_for_nothing() -> None:
    found = messages.parse(body(id=7, result={}))
    assert (found.method, found.id) == ("", None)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b'"a"',
        b'[{"jsonrpc":"2.0","method":"ping","id":1}]',
        b'{"method":"ping","id":1}',
        body(id=1, method=5),
        body(id=True, method="ping"),
        body(id={}, method="ping"),
        body(id=1.5, method="ping"),
        body(id=1, method="ping", params=[1]),
    ],
)
def test_what_is_no_message_is_refused_in_words(wrong: bytes) -> None:
    with pytest.raises(BadRequest):
        messages.parse(wrong)


@pytest.mark.parametrize(("asked", "granted"), [("2025-03-26", "2025-03-26"), ("1999-01-01", messages.VERSIONS[0])])
def test_a_version_that_is_unknown_is_answered_with_the_newest(asked: str, granted: str) -> None:
    assert messages.welcome({"protocolVersion": asked})["protocolVersion"] == granted


@pytest.mark.parametrize("number", [1, 'a"b', None])
def test_answers_are_json_with_the_messages_id(number: str | int | None) -> None:
    for answer in (messages.result(number, b'{"a": 1}'), messages.result(number, {"a": 1})):
        assert json.loads(answer) == {"jsonrpc": "2.0", "id": number, "result": {"a": 1}}
    assert json.loads(messages.error(number, -32601, "no"))["id"] == number
