"""The sessions' stories: of those that wait or run, and of the past ones, from the history."""

from __future__ import annotations

import json
from collections.abc import Iterator

from appliance.grid import why
from appliance.grid.store import Store
from appliance.grid.story import ANY, Filter, Story

SLICE = 200  # entries of the history that are read at once; Redis serves others in between

Fields = dict[str, str]


class Stories:
    """The part of `Grid` that tells of sessions. Every method raises StoreUnavailable if Redis is away."""

    store: Store

    def stories(self, filters: Filter = ANY) -> list[Story]:
        """Return the sessions that wait or run, the oldest first."""
        kinds = {"waiting": ["deadlines"], "": ["leases", "deadlines"]}.get(filters.status, ["leases"])
        found_ids = self.store.read(*[("ZRANGE", self.store.key(kind), 0, -1) for kind in kinds])
        ids = [one for some in found_ids for one in some]
        answers = self.store.read(*[("HGETALL", self.store.key("session", one)) for one in ids]) if ids else []
        found = (Story.parse(fields) for fields in answers if fields)
        return sorted(filter(filters.matches, found), key=lambda story: story.started_ms or 0)

    def session(self, session_id: str) -> Story | None:
        """Return a session, live or past; None if it is unknown, or too old for the history."""
        found = self._record(session_id)
        return Story.parse(*found) if found else None

    def beginning_with(self, letters: str, most: int) -> list[Story]:
        """Return the sessions, live and past, whose ids begin so; `most` of them at most."""
        found = [story for story in self.stories() if story.id.startswith(letters)]
        written = json.dumps({"id": letters})[1:-2]  # without the closing quote
        for ended_ms, entry in self._entries(None):
            if len(found) >= most:
                break
            if written in entry["request"] and json.loads(entry["request"])["id"].startswith(letters):
                found.append(Story.parse(entry, ended_ms))
        return found[:most]

    def history(
        self, *, count: int = 100, before_ms: int | None = None, filters: Filter = ANY, is_page: bool = False
    ) -> list[Story]:
        """Return up to `count` past sessions that match, the newest first; only those that ended before `before_ms`.

        A page also has all others that ended in the same millisecond as its last one, so that the next one may begin
        before that.
        """
        found: list[Story] = []
        for ended_ms, fields in self._entries(before_ms):
            if len(found) >= count and not (is_page and found and ended_ms == found[-1].ended_ms):
                break
            story = Story.parse(fields, ended_ms)
            if filters.matches(story):
                found.append(story)
        return found

    def why(self, session_id: str) -> list[str]:
        """Return why a session waited and why it ended, in sentences; [] if it is unknown."""
        found = self._record(session_id)
        if not found:
            return []
        entries = self.store.read(("XREVRANGE", self.store.key("events"), "+", "-", "COUNT", why.EVENTS))[0]
        return why.sentences(Story.parse(*found), found[0], [fields for _, fields in reversed(entries)])

    def _record(self, session_id: str) -> tuple[Fields, int | None] | None:
        """Return a session's hash, or its history entry and when it ended; None if there is neither."""
        (fields,) = self.store.read(("HGETALL", self.store.key("session", session_id)))
        if fields:
            return fields, None
        written = json.dumps({"id": session_id})[1:-1]
        for ended_ms, entry in self._entries(None):
            if written in entry["request"] and json.loads(entry["request"])["id"] == session_id:
                return entry, ended_ms
        return None

    def _entries(self, before_ms: int | None) -> Iterator[tuple[int, Fields]]:
        """Return the history's entries from the newest on, each with the time of its end."""
        last = "+" if before_ms is None else f"({before_ms}-0"
        while True:
            entries = self.store.read(("XREVRANGE", self.store.key("history"), last, "-", "COUNT", SLICE))[0]
            for entry_id, fields in entries:
                yield int(entry_id.partition("-")[0]), fields
            if len(entries) < SLICE:
                return
            last = f"({entries[-1][0]}"
