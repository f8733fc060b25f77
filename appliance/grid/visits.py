"""The clients of kept sessions that a proxy serves. Another proxy may hold the session itself."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager

from appliance import logs
from appliance.grid.grid import Grid
from appliance.grid.session import Visit
from appliance.grid.story import EndedBy
from appliance.grid.values import Grant
from appliance.request_errors import StoreUnavailable

log = logs.get_logger()


class Visits:
    """The visits to sessions by this proxy's clients."""

    def __init__(self, grid: Grid, proxy_id: str, own_ids: Container[str]) -> None:
        """Set the grid, which is told what has moved, this proxy's id, and the ids of the sessions that it holds."""
        self._grid, self._proxy, self._own_ids = grid, proxy_id, own_ids
        self._visits: list[Visit] = []

    @property
    def session_ids(self) -> set[str]:
        """The sessions that have a visit here."""
        return {visit.grant.session_id for visit in self._visits}

    @contextmanager
    def open(self, grant: Grant) -> Iterator[Visit]:
        """Count a client of a session as long as the block lasts. Raises StoreUnavailable."""
        visit = Visit(grant)
        self._visits.append(visit)
        try:
            if grant.session_id not in self._own_ids:
                self._grid.begin_visit(grant.session_id, self._proxy)
            yield visit
        finally:
            self._visits.remove(visit)
            self._note([visit])

    def note(self) -> None:
        """Note in Redis what has moved so far. If Redis is away, the next call notes it."""
        self._note(self._visits)

    def _note(self, visits: Sequence[Visit]) -> None:
        moved = [(visit, visit.traffic) for visit in visits if visit.traffic != visit.reported]
        if not moved:
            return
        try:
            self._grid.note_visits((visit.grant.session_id, visit.id, traffic) for visit, traffic in moved)
        except StoreUnavailable as error:
            log.warning("visits.not_noted", error=str(error))
            return
        for visit, traffic in moved:
            visit.reported = traffic

    def end(self, session_id: str, reason: str, by: EndedBy = EndedBy.APPLIANCE, worker_id: str = "") -> None:
        """End the visit to a session, if there is one here; with a `worker_id`, only if the session is there."""
        for visit in list(self._visits):
            if visit.grant.session_id == session_id and worker_id in ("", visit.grant.worker_id):
                visit.end(reason, by)

    def end_all(self, reason: str) -> None:
        """End every visit."""
        for visit in list(self._visits):
            visit.end(reason, EndedBy.APPLIANCE)
