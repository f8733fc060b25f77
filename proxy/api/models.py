"""What the API answers, as the OpenAPI document describes it: made of the records that the answers are made of."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_type_hints

from pydantic import BaseModel, Field, create_model

from appliance.grid.records import ApplianceInfo, PoolCapacity, WorkerInfo
from appliance.grid.story import Story
from appliance.names import Browser, Isolation


def _model(name: str, record: type, **more: Any) -> type[BaseModel]:
    """Return a model with the fields of a dataclass, and more of them."""
    hints = get_type_hints(record)
    columns: dict[str, Any] = {field.name: (hints[field.name], ...) for field in fields(record)} | more
    model: type[BaseModel] = create_model(name, __doc__=record.__doc__, **columns)
    return model


Session = _model("Session", Story)
Worker = _model("Worker", WorkerInfo)
Pool = _model("Pool", PoolCapacity)
Appliance = _model("Appliance", ApplianceInfo, safe_to_stop=(bool, ...))


class Error(BaseModel):
    """Why a request is refused."""

    class Content(BaseModel):
        """What is wrong, and what to do."""

        code: int
        message: str
        hint: str

    error: Content


class Sessions(BaseModel):
    """Sessions; those of a client's token alone if a client asks."""

    sessions: list[Session]  # type: ignore[valid-type]


class Why(BaseModel):
    """Why a session waited, and why it ended, in sentences."""

    why: list[str]


class Ended(BaseModel):
    """The ids of the sessions that are being ended; their clients read the reason."""

    ended: list[str]


class Workers(BaseModel):
    """All workers of the grid, by appliance and name."""

    workers: list[Worker]  # type: ignore[valid-type]


class Draining(BaseModel):
    """A worker or an appliance that drains, and how many sessions its workers still have."""

    draining: str
    sessions: int


class Undrained(BaseModel):
    """An appliance that is back in service."""

    serving: str


class Pools(BaseModel):
    """The pools, by browser and Playwright version. `version` is "any" for waiting sessions that named none."""

    pools: list[Pool]  # type: ignore[valid-type]


class Appliances(BaseModel):
    """All appliances of the grid, by name."""

    appliances: list[Appliance]  # type: ignore[valid-type]


class Slots(BaseModel):
    """The slots of the whole grid, and how many sessions wait for one."""

    slots: int
    active: int
    free: int
    waiting: int


class Capacity(Pools, Appliances):
    """What the grid has, and what of it is free."""

    grid: Slots


class Ticket(BaseModel):
    """A session that waits. `position` counts from 1 among those that wait for the same browser."""

    position: int
    waiting_ms: int
    session: Session  # type: ignore[valid-type]


class Queue(BaseModel):
    """The sessions that wait for a slot, in order. A client sees its own, with their true positions."""

    queue: list[Ticket]


class Pressure(BaseModel):
    """Whether another session can be opened. `limit` is what is short: "slots", "memory" or "cpu"; "" if nothing is.

    `memory` and `cpu` are the shares of this appliance's machine that are in use, from 0 to 1.
    """

    is_available: bool
    limit: str
    reason: str
    browser: Browser
    version: str
    isolation: Isolation
    slots: int
    free: int
    waiting: int
    memory: float
    cpu: float


class Events(BaseModel):
    """The newest events, the oldest of them first: each has an `id`, an `event`, and fields of its own."""

    events: list[dict[str, str]]


class TokenInfo(BaseModel):
    """A token that is valid; times are Unix milliseconds, null for never."""

    name: str
    role: str
    created_ms: int
    expires_ms: int | None
    used_ms: int | None


class Tokens(BaseModel):
    """The tokens that are valid."""

    tokens: list[TokenInfo]


class NewToken(BaseModel):
    """A token that was created. Its secret is told once: the grid keeps only a digest."""

    name: str
    role: str
    token: str = Field(description="The secret.")


class Revoked(BaseModel):
    """The name of the tokens that were revoked."""

    revoked: str
