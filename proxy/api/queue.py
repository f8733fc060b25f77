"""The queue, and whether another session can be opened."""

from __future__ import annotations

from collections import Counter

from flask import Response, current_app

from appliance.grid.story import Filter
from proxy.api import models
from proxy.api.asked import answer, answer_list, blueprint, grid, may_see, settings
from proxy.api.pressure import Gauge, pressure
from proxy.api.queries import Strict, Wanted

GAUGE = "gauge"  # in Flask's `extensions`

api = blueprint("queue")


@api.get("/queue", responses={200: models.Queue})
def list_queue(query: Strict) -> Response:
    """List the sessions that wait for a slot, in order."""
    now_ms, positions = grid().now_ms(), Counter[str]()
    tickets = []
    for session in grid().stories(Filter(status="waiting")):
        positions[session.browser] += 1
        waiting_ms = max(0, now_ms - (session.started_ms or now_ms))
        ticket = {"position": positions[session.browser], "waiting_ms": waiting_ms, "session": session.as_dict()}
        tickets += [ticket] if may_see(session) else []
    return answer_list("queue", tickets)


@api.get("/pressure", responses={200: models.Pressure})
def show_pressure(query: Wanted) -> Response:
    """Tell whether another session can be opened, and if not, why: no slot is free, or this machine is too busy."""
    gauge: Gauge = current_app.extensions[GAUGE]
    browser = query.browser or settings().default_browser_type
    isolation = query.isolation or settings().serving(browser, query.version).isolation
    return answer(pressure(grid().capacity(), browser, query.version, isolation, gauge.memory(), gauge.cpu()))
