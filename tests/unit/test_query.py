"""Each parameter of a session's URL is understood or refused; none is ignored."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.request_errors import BadRequest
from proxy import query


def test_known_parameters_are_read() -> None:
    assert query.parse("browser=firefox&name=check%20out%C3%A9&token=a+b") == {
        "browser": "firefox", "name": "check outé", "token": "a b"
    }  # fmt: skip
    assert query.parse("isolation=browser") == {"isolation": "browser"}
    assert query.parse("session=a&keep=300") == {"session": "a", "keep": "300"}
    assert query.parse("timeout=600") == {"timeout": "600"}
    assert query.parse("") == {}
    assert query.parse("name=") == {"name": ""}
    assert query.labels(query.parse("name=a&label.build=4711&label.git.branch=main")) == {
        "build": "4711", "git.branch": "main"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("launch-options={}", "Unknown query parameter 'launch-options'."),
        ("Browser=firefox", "Unknown query parameter 'Browser'."),
        ("browser=firefox&browser=firefox", "The query parameter 'browser' is there twice."),
        ("browser=", "The query parameter 'browser' has no value."),
        ("isolation=process", "The query parameter 'isolation' must be context or browser."),
        ("isolation=", "The query parameter 'isolation' must be context or browser."),
        ("label.=7", "A label's key must have 1 to 40 letters, digits, dots, underscores or hyphens."),
        ("label.b%20d=7", "A label's key must have 1 to 40 letters, digits, dots, underscores or hyphens."),
        (f"label.{'k' * 41}=7", "A label's key must have 1 to 40 letters, digits, dots, underscores or hyphens."),
        (f"label.build={'7' * 201}", "The label build has 201 characters."),
        ("label.build=a%0Db", "The label build has characters that cannot be printed."),
        ("label.build=7&label.build=8", "The query parameter 'label.build' is there twice."),
        ("&".join(f"label.{number}=x" for number in range(11)), "The session has 11 labels."),
        ("timeout=", "The query parameter 'timeout' must be a whole number of seconds, from 1 to 864000."),
        ("timeout=0", "The query parameter 'timeout' must be a whole number of seconds, from 1 to 864000."),
        ("timeout=1.5", "The query parameter 'timeout' must be a whole number of seconds, from 1 to 864000."),
        ("timeout=3600000", "The query parameter 'timeout' must be a whole number of seconds, from 1 to 864000."),
        ("keep=5", "To reconnect to a session, the URL needs both its name and the seconds for which it is kept."),
        ("session=a", "To reconnect to a session, the URL needs both its name and the seconds for which it is kept."),
        (
            "session=&keep=5",
            "To reconnect to a session, the URL needs both its name and the seconds for which it is kept.",
        ),
        ("session=a&keep=", "The query parameter 'keep' must be a whole number of seconds."),
        ("session=a&keep=1.5", "The query parameter 'keep' must be a whole number of seconds."),
        ("session=a&keep=-1", "The query parameter 'keep' must be a whole number of seconds."),
        ("session=a&keep=%D9%A3", "The query parameter 'keep' must be a whole number of seconds."),
        ("session=a&keep=1&session=b", "The query parameter 'session' is there twice."),
        ("keep=1&session=a%0Db", "The session's name has characters that cannot be printed."),
        ("name=" + "n" * 201, "The session's name has 201 characters."),
        ("name=a%0Db", "The session's name has characters that cannot be printed."),
        ("name=%E2%80%AE", "The session's name has characters that cannot be printed."),
    ],
)
def test_everything_else_is_refused_with_what_there_is(text: str, message: str) -> None:
    with pytest.raises(BadRequest) as raised:
        query.parse(text)
    assert str(raised.value) == message
    assert raised.value.hint


def test_a_token_that_stands_where_a_name_should_is_not_repeated() -> None:
    with pytest.raises(BadRequest) as raised:
        query.parse("pwa_secret-0123456789")
    assert "secret" not in f"{raised.value} {raised.value.hint}"


@given(st.text(max_size=50))
def test_no_text_raises_anything_else_than_a_refusal(text: str) -> None:
    with suppress(BadRequest):
        query.parse(text)
