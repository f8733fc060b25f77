"""What every part of the API needs of a request: who asks, what it may see, and how it is answered."""

from __future__ import annotations

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, cast

import gevent
from flask import Response, current_app, g
from flask_openapi3.blueprint import APIBlueprint

from appliance.grid.grid import Grid
from appliance.grid.story import Story
from appliance.grid.token_table import Principal
from appliance.request_errors import AdminsOnly, NotFound
from appliance.settings.config import Settings
from proxy.api.models import Error

PREFIX = "/api/v1"
PIECE = 100  # items of a list, which take about 2 ms to write
JSON = "application/json"
# The application describes the model. To describe it again for each status of each resource took the proxy 0.1 s.
_AN_ERROR = {JSON: {"schema": {"$ref": f"#/components/schemas/{Error.__name__}"}}}
_ERRORS = (400, 401, 403, 404, 405, 413, 500, 503)
GRID, SETTINGS = "grid", "settings"  # in Flask's `extensions`


def blueprint(name: str) -> APIBlueprint:
    """Return a part of the API, whose resources may all answer with an error."""
    errors: dict[str | int | HTTPStatus, Any] = {status: {"content": _AN_ERROR} for status in _ERRORS}
    return APIBlueprint(name, __name__, url_prefix=PREFIX, abp_responses=errors)


def grid() -> Grid:
    """Return the grid."""
    return cast(Grid, current_app.extensions[GRID])


def settings() -> Settings:
    """Return the appliance's settings."""
    return cast(Settings, current_app.extensions[SETTINGS])


def principal() -> Principal:
    """Return who sends the request, which is admitted."""
    return cast(Principal, g.principal)


def require_admin() -> None:
    """Raise AdminsOnly for a client."""
    if not principal().is_admin:
        raise AdminsOnly("Only an admin's token may do this, and this one is a client's.")


def may_see(session: Story) -> bool:
    """Return whether the principal may see and end a session: an admin each, a client those of its own token."""
    return principal().owns(session.token)


def find_session(session_id: str) -> Story:
    """Return a session, live or past; raises NotFound also for one that is not the principal's to see."""
    return visible(grid().session(session_id), session_id)


def visible(session: Story | None, session_id: str) -> Story:
    """Return a session that was found by its id; raises NotFound as `find_session` does."""
    if session is None or not may_see(session):
        raise NotFound(f"There is no session {session_id[:100]}.", f"{PREFIX}/sessions lists all.")
    return session


def answer(content: dict[str, Any], status: int = 200) -> Response:
    """Return an answer with this content."""
    return Response(f"{_written(content)}\n", status, mimetype=JSON)


def answer_list(name: str, items: Iterable[dict[str, Any]]) -> Response:
    """Return an answer with a list, which may be long: what else the proxy does goes on meanwhile."""
    pieces = []
    for number, item in enumerate(items, 1):
        pieces.append(_written(item))
        if number % PIECE == 0:
            gevent.sleep(0)
    return Response(f'{{"{name}": [{", ".join(pieces)}]}}\n', mimetype=JSON)


def _written(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False)
