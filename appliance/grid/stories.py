"""The stories of sessions: live ones from their records, past ones from the history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from appliance.grid import why
from appliance.grid.clock import grid_time_ms, wall_ms
from appliance.grid.store import Store
from appliance.grid.story import ANY, Fields, Filter, Story, entry_fields

SLICE = 200  # entries of the history that are read at once; Redis serves others in between
ENDS_S, ENDS_MOST = 10, 1000  # of events behind a session's end, among which its worker's end is looked for


class Stories:
    """The part of `Grid` that tells of sessions. Every method raises StoreUnavailable if Redis is away."""

    store: Store

    def stories(self, filters: Filter = ANY) -> list[Story]:
        """Return the sessions that wait or run, the oldest first."""
        kinds = {"waiting": ["deadlines"], "": ["leases", "deadlines"]}.get(filters.status, ["leases"])
        found_ids = self.store.read(*[("ZRANGE", self.store.key(kind), 0, -1) for kind in kinds])
        ids = [one for some in found_ids for one in some]
        answers = self.store.read_hashes([self.store.key("session", one) for one in ids])
        found = (Story.parse(fields) for fields in answers if fields)
        return sorted(filter(filters.matches, found), key=lambda story: story.started_ms or 0)

    def session(self, session_id: str) -> Story | None:
        """Return a session, live or past; None if it is unknown, or too old for the history."""
        found = self._record(session_id)
        return Story.parse(*found) if found else None

    def beginning_with(self, letters: str, most: int) -> list[Story]:
        """Return the sessions, live and past, whose ids begin so; `most` of them at most."""
        found = [story for story in self.stories() if story.id.startswith(letters)]
        self.find_past("")  # so that the index has all
        (ids,) = self.store.read(("HKEYS", self.store.key("index")))
        live_ids = {story.id for story in found}  # one that was taken for ended may be in the index, too
        past = (self.session(one) for one in ids if one.startswith(letters) and one not in live_ids)
        found += [story for _, story in zip(range(most - len(found)), filter(None, past), strict=False)]
        return found[:most]

    def history(
        self, *, count: int = 100, before_ms: int | None = None, filters: Filter = ANY, is_page: bool = False
    ) -> list[Story]:
        """Return up to `count` past sessions that match, the newest first; only those that ended before `before_ms`.

        A page also has all others that ended in the same millisecond as its last one, so that the next one may begin
        before that.
        """
        found: list[Story] = []
        for fields, ended_ms in self._entries(before_ms):
            if len(found) >= count and not (is_page and found and ended_ms == found[-1].ended_ms):
                break
            story = Story.parse(fields, ended_ms)
            if filters.matches(story):
                found.append(story)
        return found

    def ended_after(self, ended_ms: int, most: int) -> list[Story]:
        """Return the sessions that have ended after a time, the oldest end first; `most` of them at most."""
        found = self.store.read(("XRANGE", self.store.key("history"), ended_ms + 1, "+", "COUNT", most))[0]
        return [Story.parse(*entry) for entry in _readable(found)]

    def why(self, session_id: str) -> list[str]:
        """Return why a session waited and why it ended, in sentences; [] if it is unknown."""
        found = self.explain(session_id)
        return found[1] if found else []

    def explain(self, session_id: str) -> tuple[Story, list[str]] | None:
        """Return a session, with the sentences of `why`; None if it is unknown."""
        found = self._record(session_id)
        if not found:
            return None
        story = Story.parse(*found)
        return story, why.sentences(story, found[0], self._end_of_worker(story) if story.ended_ms else "")

    def _end_of_worker(self, story: Story) -> str:
        """Return why a past session's worker ended, if it did so within some seconds; "" if nothing is known."""
        time, clock = self.store.read(("TIME",), ("GET", self.store.key("clock")))
        ended_ms = (story.ended_ms or 0) + wall_ms(time) - grid_time_ms(time, clock)  # events have the server's time
        window = (ended_ms - 1000, ended_ms + ENDS_S * 1000, "COUNT", ENDS_MOST)
        events = self.store.read(("XRANGE", self.store.key("events"), *window))[0]
        ends = (one for _, one in events if one["event"] == "worker.ended" and one.get("worker") == story.worker)
        return next((str(one.get("reason", "")) for one in ends), "")

    def _record(self, session_id: str) -> tuple[Fields, int | None] | None:
        """Return a session's hash, or its history entry and when it ended; None if there is neither."""
        (fields,) = self.store.read(("HGETALL", self.store.key("session", session_id)))
        if fields:
            return fields, None
        entry_id = self.find_past(session_id)
        found = self.store.read(("XRANGE", self.store.key("history"), entry_id, entry_id))[0] if entry_id else []
        return next(_readable(found), None)

    def find_past(self, session_id: str) -> str:
        """Return the id of a past session's entry in the history; "" if it is unknown, or too old for that."""
        while True:
            answer = self.store.call("find_past", id=session_id)
            if not answer["more"]:  # else Redis serves others in between
                return str(answer.get("entry") or "")

    def _entries(self, before_ms: int | None) -> Iterator[tuple[Fields, int]]:
        """Yield the history's entries from the newest on, each with the time of its end."""
        last = "+" if before_ms is None else f"({before_ms}-0"
        while True:
            entries = self.store.read(("XREVRANGE", self.store.key("history"), last, "-", "COUNT", SLICE))[0]
            yield from _readable(entries)
            if len(entries) < SLICE:
                return
            last = f"({entries[-1][0]}"


def _readable(entries: Iterable[tuple[str, Fields]]) -> Iterator[tuple[Fields, int]]:
    """Yield the fields of history entries, each with the time of its end; skip those of another format."""
    for entry_id, fields in entries:
        try:
            yield entry_fields(fields), int(entry_id.partition("-")[0])
        except (KeyError, ValueError):  # one such entry must not hide the others
            continue
