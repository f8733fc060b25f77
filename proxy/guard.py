"""Who is let in: clients with a token of the grid, or everybody while it has none."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import parse_qs

from appliance.errors import Unauthorized
from appliance.registry import Tokens

QUERY_PARAMETER = "token"


class Guard:
    """Lets requests in by the token that they bring."""

    def __init__(self, tokens: Tokens, allow_anonymous: bool) -> None:
        """Take the grid's tokens, and whether clients that bring none are let in even if there are some."""
        self._tokens = tokens
        self._allow_anonymous = allow_anonymous

    def admit(self, authorization: str, query: str) -> str:
        """Give the name of the token that a request brings, "" if it brings none and may.

        Takes the value of its `Authorization` header and its query string. Raises Unauthorized, and
        StoreUnavailable if that cannot be told: nobody gets in unchecked.
        """
        token = given_token(authorization, query)
        if not token:
            if self._allow_anonymous or not self._tokens.are_required():
                return ""
            raise Unauthorized("this grid wants a token, and the request brings none")
        name = self._tokens.check(token)
        if name is None:
            raise Unauthorized("the grid does not know this token, or it was revoked")
        return name


def given_token(authorization: str, query: str) -> str:
    """Give the token that a request brings, "" if none.

    It stands in `Authorization` as `Bearer TOKEN` (RFC 6750, section 2.1), or as the password of `Basic`
    (RFC 7617), which is what clients make of ws://any:TOKEN@host; else in the query as `token`.
    """
    scheme, _, credentials = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() == "basic" and (password := _password(credentials.strip())):
        return password
    return parse_qs(query.replace("+", "%2B")).get(QUERY_PARAMETER, [""])[-1]  # a token has no space, but may have a +


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
