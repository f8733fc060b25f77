"""Tokens: list, create and revoke them."""

from __future__ import annotations

from flask import Response

from appliance.grid import token_table
from appliance.grid.token_table import BOOT_NAME, Role
from appliance.request_errors import NotFound, TokenExists
from proxy.api import models
from proxy.api.asked import PREFIX, answer, blueprint, grid, require_admin
from proxy.api.queries import Strict, TokenBody, TokenPath

api = blueprint("tokens")


@api.get("/tokens", responses={200: models.Tokens})
def list_tokens(query: Strict) -> Response:
    """List the tokens that are valid; their secrets are not known."""
    require_admin()
    used_ms, now_ms = grid().tokens_used_ms(), grid().now_ms()
    found = [
        {
            "name": token.name,
            "role": (Role.ADMIN if token.is_admin else Role.CLIENT).value,
            "created_ms": token.created_ms,
            "expires_ms": token.expires_ms or None,
            "used_ms": used_ms.get(digest),
        }
        for digest, token in token_table.valid(grid().tokens()).items()
        if not token.expires_ms or token.expires_ms > now_ms
    ]
    return answer({"tokens": sorted(found, key=lambda token: str(token["name"]))})


@api.post("/tokens", responses={201: models.NewToken, 409: models.Error})
def create_token(body: TokenBody, query: Strict) -> Response:
    """Create a token. The answer is the only place where its secret is told."""
    require_admin()
    secret = token_table.new_token()
    is_taken = body.name == BOOT_NAME  # it belongs to APPLIANCE_TOKEN
    if is_taken or not grid().create_token(token_table.digest_of(secret), body.name, body.ttl_s, body.role):
        raise TokenExists(f"There is a token {body.name} already.")
    return answer({"name": body.name, "role": body.role.value, "token": secret}, 201)


@api.delete("/tokens/<name>", responses={200: models.Revoked})
def revoke_token(path: TokenPath, query: Strict) -> Response:
    """Revoke a token; sessions that run with it go on."""
    require_admin()
    if not grid().revoke_token(path.name):
        raise NotFound(f"There is no valid token {path.name[:100]}.", f"{PREFIX}/tokens lists all.")
    return answer({"revoked": path.name})
