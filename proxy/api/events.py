"""The grid's events: the newest as JSON, or from now on as server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from typing import cast

from flask import Response, current_app, g, request

from proxy.api import models
from proxy.api.asked import answer_list, blueprint, grid, require_admin
from proxy.api.queries import NewestEvents
from proxy.api.streams import Streams

EVENT_STREAM = "text/event-stream"
STREAMS = "streams"  # in Flask's `extensions`

api = blueprint("events")


@api.get("/events", responses={200: models.Events, 429: models.Error})
def list_events(query: NewestEvents) -> Response:
    """List the newest events, or follow them as server-sent events: with `follow`, or `Accept: text/event-stream`.

    A client that comes back with the header Last-Event-ID goes on where it was, as far as the events are still there.
    """
    require_admin()
    if not query.follow and request.accept_mimetypes.best != EVENT_STREAM:
        return answer_list("events", grid().events(query.count))
    streams = cast(Streams, current_app.extensions[STREAMS])
    stream = streams.open(request.headers.get("Last-Event-ID", ""), query.count, g.admit)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would hold them back
    return Response(stream, mimetype=EVENT_STREAM, headers=headers)
