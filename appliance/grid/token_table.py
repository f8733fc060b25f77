"""Tokens: what lets a client in. Pure values; the grid keeps their digests, never the tokens.

The grid's table of tokens is in Redis, and every proxy keeps a copy that it brings back when Redis has lost
its own. A token that is revoked therefore stays in the table, marked: where two copies differ, revoked
wins. So copies can be joined in any order and any number of times, and none revives a token.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any

BOOT_NAME = "appliance"  # what the token of APPLIANCE_TOKEN is called
PREFIX = "pwa_"  # so that people, and scanners for leaked secrets, know one when they see it

_NAME = re.compile(r"[\w.-]{1,64}")


class Role(StrEnum):
    """What a token is good for: a client sees and ends its own sessions, an admin everything."""

    CLIENT = "client"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its digest; times are milliseconds of the grid's clock, 0 for never."""

    name: str
    created_ms: int
    revoked_ms: int = 0
    expires_ms: int = 0
    role: str = ""  # "" in records of earlier releases

    @property
    def is_admin(self) -> bool:
        """Whether its role is admin; the token of APPLIANCE_TOKEN always was the operator's."""
        return self.role == Role.ADMIN or (not self.role and self.name == BOOT_NAME)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sends a request: the name of its token, "" if it has none, and whether everything is open to it."""

    name: str = ""
    is_admin: bool = False

    @property
    def is_known(self) -> bool:
        """Whether it is not just anybody: it has a token, or an account that needs none."""
        return bool(self.name) or self.is_admin

    def owns(self, token: str) -> bool:
        """Return whether it may see and end the sessions of a token.

        A client without a token owns none: its own sessions could be anybody's.
        """
        return self.is_admin or (bool(self.name) and self.name == token)


Table = Mapping[str, Token]  # by the digest of the token


def new_token() -> str:
    """Make a token: 256 random bits, so that a quick hash protects it as well as a slow one."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(token: str) -> str:
    """Return the SHA-256 of a token in hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_name(text: str) -> bool:
    """Return whether a token may have this name: up to 64 letters, digits, dots, hyphens and underscores."""
    return bool(_NAME.fullmatch(text))


def valid(table: Table) -> dict[str, Token]:
    """Return the tokens that are not revoked."""
    return {digest: token for digest, token in table.items() if not token.revoked_ms}


def joined(one: Table, other: Table) -> dict[str, Token]:
    """Join two copies of a table; a token that is revoked in either is revoked."""
    return {**one, **{digest: token for digest, token in other.items() if is_news(one, digest, token)}}


def is_news(table: Table, digest: str, token: Token) -> bool:
    """Return whether a table does not yet have this token, does not have it as revoked, or without its role.

    Copies of earlier releases have no roles.
    """
    known = table.get(digest)
    if known is None or known.revoked_ms:
        return known is None
    return bool(token.revoked_ms or (token.role and not known.role))


def revoked(table: Table, names: Collection[str], now_ms: int) -> dict[str, Token]:
    """Return the table with every token of these names revoked."""
    return {
        digest: replace(token, revoked_ms=now_ms) if token.name in names and not token.revoked_ms else token
        for digest, token in table.items()
    }


def with_boot_token(table: Table, token: str, now_ms: int) -> dict[str, Token]:
    """Return the table with the token of APPLIANCE_TOKEN in place of an earlier one; a revoked one stays revoked."""
    digest = digest_of(token)
    if digest in table:
        return dict(table)
    return {**revoked(table, [BOOT_NAME], now_ms), digest: Token(BOOT_NAME, now_ms, role=Role.ADMIN)}


def has_boot_token(table: Table) -> bool:
    """Return whether the grid was ever given APPLIANCE_TOKEN: then also the appliances' own accounts need a token."""
    return any(token.name == BOOT_NAME for token in table.values())


def parse(data: Mapping[str, Any]) -> dict[str, Token]:
    """Read a table from plain data, of this version or a later one; raises TypeError if it is not one."""
    known = {field.name for field in fields(Token)}
    return {digest: Token(**{name: given[name] for name in known & given.keys()}) for digest, given in data.items()}


def as_data(table: Table) -> dict[str, dict[str, Any]]:
    """Return a table as plain data, for JSON."""
    return {digest: asdict(token) for digest, token in table.items()}
