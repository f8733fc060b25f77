"""`applctl queue`: the sessions that wait for a slot."""

from __future__ import annotations

from collections import Counter
from typing import Any

from appliance.cli.command import command
from appliance.cli.connection import current_grid
from appliance.cli.output import Output, duration, table
from appliance.grid.story import Filter


@command("applctl queue", "applctl queue --json | jq length")
def queue(out: Output) -> list[dict[str, Any]]:
    """List the sessions that wait for a slot, in order.

    `applctl sessions why ID` says what one of them waits for.
    """
    with current_grid() as (_, grid):
        waiting, now_ms = grid.stories(Filter(status="waiting")), grid.now_ms()
    positions, rows = Counter[str](), []
    shown = table("Position", "Id", "Browser", "Version", "Client", "Waits", "Name")
    for session in waiting:
        positions[session.browser] += 1
        waiting_ms = max(0, now_ms - (session.started_ms or now_ms))
        position = positions[session.browser]
        shown.add_row(
            str(position), session.id, session.browser, session.version or "any", session.client,
            duration(waiting_ms / 1000), session.name,
        )  # fmt: skip
        rows.append({"position": position, "waiting_ms": waiting_ms, "session": session.as_dict()})
    out.show(shown if rows else "No session waits.")
    return rows
