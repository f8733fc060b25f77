"""Sessions, live and past: list and explain them, and end live ones."""

from __future__ import annotations

from flask import Response

from appliance.grid.session import Kill
from appliance.grid.story import Story
from appliance.request_errors import BadRequest
from proxy.api import models
from proxy.api.asked import answer, answer_list, blueprint, find_session, grid, may_see, principal, visible
from proxy.api.queries import EndingSessions, LiveSessions, PastSessions, SessionPath, Strict

api = blueprint("sessions")


@api.get("/sessions", responses={200: models.Sessions})
def list_sessions(query: LiveSessions) -> Response:
    """List the sessions that wait or run, the oldest first."""
    found = grid().stories(query.filter())
    return answer_list("sessions", (session.as_dict() for session in found))


@api.delete("/sessions", responses={202: models.Ended})
def end_sessions(query: EndingSessions) -> Response:
    """End all sessions that match, the waiting ones first."""
    if query.all == query.names_some():
        raise BadRequest("Name the sessions to end by a filter, or by all=true.", "For example ?label.build=4711.")
    return _end(sorted(grid().stories(query.filter()), key=lambda session: session.holds_slot))


@api.get("/sessions/<session_id>", responses={200: models.Session})
def show_session(path: SessionPath, query: Strict) -> Response:
    """Show a session, live or past."""
    return answer(find_session(path.session_id).as_dict())


@api.delete("/sessions/<session_id>", responses={202: models.Ended})
def end_session(path: SessionPath, query: Strict) -> Response:
    """End a session, also one that waits. One that has ended already is not named in the answer."""
    return _end([find_session(path.session_id)])


@api.get("/sessions/<session_id>/why", responses={200: models.Why})
def explain_session(path: SessionPath, query: Strict) -> Response:
    """Explain why a session waited, and why it ended."""
    story, sentences = grid().explain(path.session_id) or (None, [])
    visible(story, path.session_id)
    return answer({"why": sentences})


@api.get("/history", responses={200: models.Sessions})
def list_history(query: PastSessions) -> Response:
    """List the sessions that have ended, the newest first.

    The next page is that with `before_ms` set to the last one's `ended_ms`. A page has more than `count` sessions if
    more ended in that millisecond.
    """
    found = grid().history(count=query.count, before_ms=query.before_ms, filters=query.filter(), is_page=True)
    return answer_list("sessions", (session.as_dict() for session in found))


def _end(found: list[Story]) -> Response:
    kill = Kill.BY_OPERATOR if principal().is_admin else Kill.BY_OWNER
    ended = [session.id for session in found if may_see(session) and grid().kill_session(session.id, kill)]
    return answer({"ended": ended}, 202)
