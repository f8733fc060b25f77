"""Tokens: which one a request brings, and copies of the table that are joined without reviving any."""

from __future__ import annotations

import base64
import itertools
from urllib.parse import quote

import pytest

from appliance.grid.token_table import Role, Table, Token, digest_of, joined, new_token, revoked, valid, with_boot_token
from appliance.request_errors import Unauthorized
from proxy.access import given_tokens


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "query", "token"),
    [
        ("Bearer T", "", "T"),
        ("bearer  T ", "token=other", "T"),
        ("", "browser=firefox&token=T", "T"),
        ("", "token=a%2Bb", "a+b"),
        (basic("any:T"), "", "T"),
        (basic(":T:with:colons"), "", "T:with:colons"),
        (basic("any:"), "token=T", "T"),
        ("Basic ***", "token=T", "T"),
        ("Digest username=x", "token=T", "T"),
        ("Bearer", "", ""),
        ("", "", ""),
        ("", "token=", ""),
    ],
)
def test_a_token_is_found_in_the_header_before_the_query(authorization: str, query: str, token: str) -> None:
    assert given_tokens(authorization, query) == ([token] if token else [])


@pytest.mark.parametrize("credentials", ["//8=", "***", "é", "\xe9: b"])
def test_a_password_that_cannot_be_read_is_refused(credentials: str) -> None:
    with pytest.raises(Unauthorized, match="cannot be read"):
        given_tokens(f"Basic {credentials}", "")


@pytest.mark.parametrize("token", ["ci/team+1~abcdefgh==", "a%2Fb-0123456789abcd"])
def test_a_password_is_tried_as_it_is_and_decoded_from_its_url(token: str) -> None:
    assert given_tokens(basic(f"any:{token}"), "")[0] == token
    assert token in given_tokens(basic(f"any:{quote(token, safe='')}"), "")


def test_tokens_are_long_and_all_different() -> None:
    made = {new_token() for _ in range(100)}
    assert len(made) == 100
    assert all(token.startswith("pwa_") and len(token) == 47 for token in made)


def test_copies_joined_in_any_order_give_the_same_and_revoked_wins() -> None:
    here: Table = {"a": Token("a", 1), "b": Token("b", 1, revoked_ms=5)}
    there: Table = {"a": Token("a", 1, revoked_ms=7), "b": Token("b", 1), "c": Token("c", 3)}
    stale: Table = {"a": Token("a", 1)}
    roles: Table = {"a": Token("a", 1, role=Role.ADMIN), "c": Token("c", 3, role=Role.ADMIN)}
    for one, two, three, four in itertools.permutations((here, there, stale, roles)):
        all_of_them = joined(joined(joined(one, two), three), four)
        assert all_of_them["c"].is_admin
        assert valid(all_of_them).keys() == {"c"}
        assert joined(all_of_them, one) == all_of_them


def test_a_changed_boot_token_replaces_the_former_for_good() -> None:
    table = with_boot_token({"d": Token("ci", 1)}, "first-token", 2)
    assert {token.name for token in valid(table).values()} == {"ci", "appliance"}
    assert with_boot_token(table, "first-token", 3) == table
    changed = with_boot_token(table, "second-token", 4)
    assert valid(changed).keys() == {"d", digest_of("second-token")}
    assert valid(with_boot_token(changed, "first-token", 5)).keys() == valid(changed).keys()


def test_a_name_is_free_again_when_its_token_is_revoked() -> None:
    table = revoked({"a": Token("ci", 1, revoked_ms=2), "b": Token("ci", 3), "c": Token("cd", 3)}, ["ci"], 9)
    assert [token.revoked_ms for token in table.values()] == [2, 9, 0]
