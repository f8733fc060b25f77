"""Who is let in: clients with a token of the grid, and on loopback those of the appliance's own account."""

from __future__ import annotations

import base64
from collections.abc import Callable
from urllib.parse import parse_qs, unquote

from appliance.errors import Unauthorized
from appliance.grid.tokens import Tokens

QUERY_PARAMETER = "token"
NO_TOKEN = "This grid requires a token, but the request has none."  # noqa: S105  # a sentence


class Guard:
    """Lets requests in by the token that they bring, or by the account that they come from."""

    def __init__(self, tokens: Tokens, allow_anonymous: bool) -> None:
        """Take the grid's tokens, and whether clients that bring none are let in even if there are some."""
        self._tokens = tokens
        self._allow_anonymous = allow_anonymous

    def admit(self, authorization: str, query: str, objection: Callable[[], str] = lambda: NO_TOKEN) -> str:
        """Return the name of the token that a request brings, "" if it brings none and may.

        `authorization` is the value of its header, `query` its query string. `objection` is asked if it has no token:
        it returns why the account that the request comes from does not let it in, "" if it does.
        Raises Unauthorized, and StoreUnavailable if a token cannot be checked: nobody gets in unchecked.
        """
        given = given_tokens(authorization, query)
        if given:
            return self._check(given)
        if self._allow_anonymous:
            return ""
        if self._tokens.are_for_everybody():
            raise Unauthorized(NO_TOKEN)
        if said := objection():
            raise Unauthorized(said)
        return ""

    def _check(self, given: list[str]) -> str:
        for token in given:
            name = self._tokens.check(token)
            if name is not None:
                return name
        raise Unauthorized("The grid does not know this token, or it was revoked.")


def given_tokens(authorization: str, query: str) -> list[str]:
    """Return what may be the token that a request brings, the likeliest first; nothing if it brings none.

    It stands in `Authorization` as `Bearer TOKEN` (RFC 6750, section 2.1), or as the password of `Basic`
    (RFC 7617), which is what clients make of ws://any:TOKEN@host; else in the query as `token`.
    Raises Unauthorized for a password that cannot be read.
    """
    scheme, _, credentials = authorization.strip().partition(" ")
    if scheme.lower() == "bearer" and (token := credentials.strip()):
        return [token]
    password = _password(credentials.strip()) if scheme.lower() == "basic" else ""
    if password:
        return list(dict.fromkeys([password, unquote(password)]))  # clients send it as it stands in the URL
    found = parse_qs(query.replace("+", "%2B")).get(QUERY_PARAMETER, [])  # a token has no space, but may have a +
    if not found and password is None:
        raise Unauthorized("The request's Authorization header cannot be read.")
    return found[-1:]


def _password(credentials: str) -> str | None:
    """Return the password of `Basic` credentials; None if they are not such."""
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except ValueError:  # not base64, not ASCII, or not UTF-8 in it
        return None
