"""What may be asked: query parameters, parts of paths, and bodies. What is not named here is refused."""

from __future__ import annotations

from typing import Literal

from flask import g
from pydantic import BaseModel, ConfigDict, Field

from appliance.grid.story import EndedBy, Filter
from appliance.grid.token_table import Role
from appliance.names import Browser, Isolation
from proxy.api.asked import principal
from proxy.query import NAME_MAX

LABEL = "label."  # of a parameter; the labels of a request are in Flask's `g`
COUNT_MAX = 1000
_OF_FILTER = {"name", "browser", "version", "worker", "appliance", "status", "ended_by", "search", "waited_over_s"}
_SEARCHED = "Text in the name, labels (as build=4711), id, client, token, worker, reason or cause of the end."
_NOBODY = "\0"  # no token has this name: of others' tokens, a client does not even learn whether they exist
_TTL_MAX_S = 10 * 365 * 86400


class Strict(BaseModel):
    """Nothing but what is named. As a query: no parameter at all."""

    model_config = ConfigDict(extra="forbid")


class SessionPath(BaseModel):
    """A session's id."""

    session_id: str


class WorkerPath(BaseModel):
    """A worker's id, such as "grid-1.chromium-00.6c5ae2"."""

    worker_id: str


class AppliancePath(BaseModel):
    """An appliance's name."""

    name: str


class TokenPath(BaseModel):
    """A token's name."""

    name: str


class Which(Strict):
    """Which sessions; further parameters `label.KEY=VALUE` name labels. `*` and `?` match as in a shell."""

    name: str = Field("", max_length=NAME_MAX, description="Name; * and ? match as in a shell.")
    browser: Browser | Literal[""] = ""
    version: str = Field("", description="Playwright version, as major.minor.")
    worker: str = Field("", description="A worker's id or name.")
    appliance: str = Field("", description="The worker's appliance.")
    token_name: str = Field("", description="Name of the token with which they were opened.")

    def filter(self) -> Filter:
        """Return the filter, narrowed to what the principal may see."""
        who, asked = principal(), self.token_name or None
        if not who.is_admin:
            asked = who.name if who.owns(asked or who.name) else _NOBODY
        return Filter(**self.model_dump(include=_OF_FILTER), labels=g.labels, token=asked)

    def names_some(self) -> bool:
        """Return whether there is any filter."""
        return any(self.model_dump(include={*_OF_FILTER, "token_name"}).values()) or bool(g.labels)


class LiveSessions(Which):
    """Which of the sessions that wait or run."""

    status: Literal["", "waiting", "active", "kept"] = ""


class EndingSessions(LiveSessions):
    """Which sessions to end."""

    all: bool = Field(False, description="End every session that the token may end.")


class PastSessions(Which):
    """Which of the sessions that have ended, the newest first."""

    ended_by: EndedBy | Literal[""] = ""
    search: str = Field("", max_length=200, description=_SEARCHED)
    waited_over_s: float = Field(0, ge=0, description="Only sessions that waited longer than this, in seconds.")
    count: int = Field(100, ge=1, le=COUNT_MAX)
    before_ms: int | None = Field(
        None, ge=1, le=2**53, description="Only sessions that ended before this time, in Unix milliseconds."
    )


class Wanted(Strict):
    """What the session to open is to have."""

    browser: Browser | None = Field(None, description="Default: that of sessions that name none.")
    version: str = Field("", max_length=20, description="Playwright version, as major.minor. Default: any.")
    isolation: Isolation | None = Field(None, description="Default: that of sessions that name none.")


class NewestEvents(Strict):
    """Which events."""

    count: int = Field(100, ge=1, le=COUNT_MAX)
    follow: bool = Field(False, description="Go on with new events as server-sent events.")


class TokenBody(Strict):
    """A token to create."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    role: Role = Role.CLIENT
    ttl_s: int = Field(0, ge=0, le=_TTL_MAX_S, description="Seconds for which it is valid; 0: until it is revoked.")
