"""A session's story: what it was, where it ran, what it moved, how it ended and who caused that.

It is the same for a session that waits or runs, from its record, and for one that has ended, from its history entry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from appliance.names import Isolation, Protocol, WorkerId


class EndedBy(StrEnum):
    """Who or what ended a session."""

    CLIENT = "client"  # it closed the session, or left the queue
    NETWORK = "network"  # the client vanished: its connection ended without a goodbye, or it stopped answering
    LIMIT = "limit"  # of time, of a message's size, or of a worker's memory or disk
    OPERATOR = "operator"
    OWNER = "owner"  # somebody with its token, by the API or the dashboard
    WORKER = "worker"  # it crashed, stopped answering, or was recycled after DRAIN_TIMEOUT
    DRIVER = "driver"
    BROWSER = "browser"
    APPLIANCE = "appliance"  # it stopped, was drained, or was lost
    GRID = "grid"  # the session was refused while it waited

    @classmethod
    def of(cls, text: str) -> EndedBy:
        """Return what a worker says; a worker of another version may say nothing, or something that is not known."""
        return cls(text) if text in set(cls) else cls.WORKER


Fields = dict[str, str]
_LINES = ("worker", "started", "granted", "traffic", "visit", "queued", "left", "ended_by", "reason")


def entry_fields(entry: Mapping[str, str]) -> Fields:
    """Return the fields of a session's entry in the history, as lua/history.lua writes it.

    Raises KeyError or ValueError if it has another format.
    """
    lines = entry["end"].split("\n", len(_LINES) - 1)
    return {"request": entry["request"], **dict(zip(_LINES, lines, strict=True))}


class Traffic(NamedTuple):
    """What a session has moved: bytes, and messages of its protocol, each way."""

    bytes_from_client: int = 0
    bytes_to_client: int = 0
    messages_from_client: int = 0
    messages_to_client: int = 0

    @classmethod
    def parse(cls, text: str) -> Traffic:
        """Read it from a field in Redis; "" means nothing yet."""
        return cls(*map(int, text.split()))

    def __str__(self) -> str:
        """Write it as a field in Redis."""
        return " ".join(map(str, self))


NO_TRAFFIC = Traffic()


class Bounds(NamedTuple):
    """How many entries the history may have, and how old they may be."""

    keep: int
    max_age_s: float


@dataclass(frozen=True, slots=True)
class Story:
    """A session's story. Times are Unix milliseconds of the grid's clock; None, "" or {} for what is not known yet.

    `status` is "waiting", "active", "kept" or "ended". `version` is the client's Playwright version, as major.minor.
    `appliance` is the worker's. `end_reason` is a sentence, `ended_by` an `EndedBy`. `duration_ms` counts from when it
    had its slot. `kept_as` is the name by which clients reconnect to it, and `kept_since_ms` when the last one went.
    """

    id: str
    name: str
    labels: dict[str, str]
    status: str
    browser: str
    version: str
    isolation: str
    protocol: str
    client: str
    user_agent: str
    token: str
    proxy: str
    appliance: str
    worker: str
    started_ms: int | None
    granted_ms: int | None
    ended_ms: int | None
    waited_ms: int | None
    duration_ms: int | None
    bytes_from_client: int
    bytes_to_client: int
    messages_from_client: int
    messages_to_client: int
    end_reason: str
    ended_by: str
    kept_as: str = ""
    kept_since_ms: int | None = None

    @classmethod
    def parse(cls, fields: Mapping[str, str], ended_ms: int | None = None) -> Story:
        """Read a session's hash, or its history entry, which was written at `ended_ms`."""
        request: dict[str, Any] = json.loads(fields["request"])
        started, granted = _ms(fields.get("started")), _ms(fields.get("granted"))
        traffic = traffic_of(fields)
        worker = fields.get("worker", "")
        if not worker:
            granted = None  # it was given back
        served_until = granted if granted is not None else ended_ms
        return cls(
            id=request["id"],
            name=request["name"],
            labels=request.get("labels") or {},  # a proxy of an earlier version may have written it
            status="ended" if ended_ms else "kept" if "kept" in fields else fields["status"],
            browser=request["browser"],
            version=request["minor"],
            isolation=request.get("isolation", Isolation.CONTEXT),
            protocol=request.get("protocol", Protocol.PLAYWRIGHT),
            client=request["client"],
            user_agent=request["user_agent"],
            token=request.get("token", ""),
            proxy=request["proxy"],
            appliance=WorkerId.parse(worker).appliance,
            worker=worker,
            started_ms=started,
            granted_ms=granted,
            ended_ms=ended_ms,
            waited_ms=served_until - started if served_until is not None and started is not None else None,
            duration_ms=max(0, ended_ms - granted) if ended_ms is not None and granted is not None else None,
            **traffic._asdict(),
            end_reason=fields.get("reason", ""),
            ended_by=fields.get("ended_by", ""),
            kept_as=request.get("kept_as", ""),
            kept_since_ms=_ms(fields.get("kept")),
        )

    @property
    def shown_name(self) -> str:
        """Its name, or that by which clients reconnect to it."""
        return self.name or self.kept_as

    @property
    def holds_slot(self) -> bool:
        """Whether it is active, with a client or without one."""
        return self.status in ("active", "kept")

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON: dataclasses.asdict takes 30 times as long, which counts for thousands."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which sessions are asked for; "" matches all, and None all tokens.

    `name` and the labels' values may have `*` and `?` as in a shell. `worker` is an id or a name, `status` and
    `ended_by` as in Story. `search` is a part of anything that people would recognise the session by. Only
    sessions that waited for longer than `waited_over_s` seconds match, with 0 all.
    """

    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None
    status: str = ""
    ended_by: str = ""
    browser: str = ""
    version: str = ""
    worker: str = ""
    appliance: str = ""
    search: str = ""
    waited_over_s: float = 0

    def matches(self, story: Story) -> bool:
        """Return whether a session is one of those."""
        return (
            (not self.name or fnmatchcase(story.name, self.name))
            and all(fnmatchcase(story.labels.get(key, ""), value) for key, value in self.labels.items())
            and all(key in story.labels for key in self.labels)
            and (self.token is None or story.token == self.token)
            and self.worker in ("", story.worker, WorkerId.parse(story.worker).name)
            and (not self.search or any(self.search.casefold() in text.casefold() for text in _texts(story)))
            and (not self.waited_over_s or (story.waited_ms or 0) > self.waited_over_s * 1000)
            and all(getattr(self, name) in ("", getattr(story, name)) for name in _EXACT)
        )


_EXACT = ("status", "ended_by", "browser", "version", "appliance")
ANY = Filter()


def _texts(story: Story) -> tuple[str, ...]:
    labels = (f"{key}={value}" for key, value in story.labels.items())
    who = (story.name, story.kept_as, story.id, story.client, story.token)
    return (*who, story.worker, story.end_reason, story.ended_by, *labels)


def traffic_of(fields: Mapping[str, str]) -> Traffic:
    """Return the traffic in a session's hash or history entry, that of its last visits included."""
    visits = [visit.partition(" ")[2] for visit in fields.get("visit", "").split(";")]
    moved = [Traffic.parse(text) for text in (fields.get("traffic", ""), *visits)]
    return Traffic(*map(sum, zip(*moved, strict=True)))


def _ms(text: str | None) -> int | None:
    return int(float(text)) if text else None
