"""What the dashboard is told of a look at the grid, and what of the next one."""

from __future__ import annotations

import json
from dataclasses import replace

from appliance.grid.overview import Overview, Policy
from appliance.grid.records import PoolCapacity
from appliance.grid.samples import Sample
from appliance.grid.story import Story
from appliance.grid.token_table import Principal
from proxy.dashboard.snapshot import Snapshot, changes
from tests.support.audited import WORKER

ADMIN, CI = Principal("boss", is_admin=True), Principal("ci")
SAMPLE: Sample = {"at_ms": 1.0, "active": 2.0}


def session(name: str, token: str = "ci", status: str = "active") -> Story:  # a token's name
    request = {"id": name, "name": f"of {name}", "browser": "chromium", "minor": "1.65", "client": "::1"}
    request |= {"user_agent": "", "token": token, "proxy": "p", "labels": {"build": "4711"}}
    story = Story.parse({"request": json.dumps(request), "status": "active", "worker": WORKER.id, "started": "5"})
    return replace(story, status=status)


def look(*sessions: Story, at_ms: int = 1000) -> Overview:
    pool = PoolCapacity("chromium", "1.65", {"available": 1}, slots=5, active=2, free=3)
    return Overview(
        now_ms=at_ms,
        workers=(WORKER,),
        sessions=sessions,
        sessions_total=len(sessions),
        pools=(pool,),
        policies={("chromium", "1.65"): Policy(50, 10)},
    )


def follow(*looks: Overview, who: Principal = ADMIN) -> dict[str, object]:
    """Return the last of the messages that lead through these looks."""
    before, now, message = None, Snapshot(), {}
    for one in looks:
        now = now.after(one, [], {"name": "here"})
        message, before = changes(before and before.seen_by(who), now.seen_by(who)), now
    return message


def test_the_first_message_has_all_of_the_grid() -> None:
    message = follow(look(session("a")))
    assert message["full"] is True
    assert message["grid"] == {"name": "here", "memory_bytes": WORKER.memory_bytes, "sessions_total": 1}
    (pool,) = message["pools"]["set"]
    assert (pool["id"], pool["quota"], pool["margin"], pool["free"]) == ("chromium 1.65", 50, 10, 3)
    (told,) = message["sessions"]["set"]
    assert (told["id"], told["name"], told["version"], told["labels"]) == ("a", "of a", "1.65", {"build": "4711"})
    assert [one["id"] for one in message["workers"]["set"]] == [WORKER.id]


def test_a_pool_says_which_browser_it_has_and_what_is_usual_there() -> None:
    full = replace(WORKER, channel="chromium", isolation="browser")
    (pool,) = follow(replace(look(), workers=(full,)))["pools"]["set"]
    assert pool["kind"] == "chromium, isolation=browser"
    beside = replace(full, beside="/browser")
    (pool,) = follow(replace(look(), workers=(beside,)))["pools"]["set"]
    assert pool["kind"] == "", "that is another pool"


def test_a_look_at_which_nothing_has_changed_costs_some_bytes() -> None:
    assert follow(look(session("a")), look(session("a"), at_ms=2000)) == {
        "type": "state",
        "now_ms": 2000,
        "trouble": "",
    }


def test_a_further_message_has_the_rows_that_changed_and_what_went() -> None:
    changed = replace(session("b"), status="kept")
    message = follow(look(session("a"), session("b"), session("c")), look(changed, session("c"), session("d")))
    assert [one["id"] for one in message["sessions"]["set"]] == ["b", "d"]
    assert message["sessions"]["gone"] == ["a"]
    assert "workers" not in message


def test_events_and_samples_are_told_once() -> None:
    first = Snapshot().after(replace(look(), events=({"id": "1-0"},)), [SAMPLE], {})
    second = first.after(replace(look(), events=({"id": "2-0"}, {"id": "3-0"})), [], {})
    assert [one["id"] for one in changes(None, second)["events"]] == ["1-0", "2-0", "3-0"]
    told = changes(first, second)
    assert [one["id"] for one in told["events"]] == ["2-0", "3-0"]
    assert "samples" not in told
    assert changes(None, second)["samples"] == (SAMPLE,)


def test_a_client_is_told_of_its_own_sessions_and_of_no_worker_appliance_or_event() -> None:
    seen = replace(look(session("a"), session("b", "other"), session("c", "")), events=({"id": "1-0"},))
    message = follow(seen, who=CI)
    assert [one["id"] for one in message["sessions"]["set"]] == ["a"]
    assert message["grid"]["sessions_total"] == 1
    assert message.keys() & {"workers", "appliances", "events"} == set()
    assert message["pools"]
    later = replace(seen, sessions=(session("b", "other", "kept"),))
    assert follow(seen, later, who=CI)["sessions"] == {"gone": ["a"]}


def test_an_anonymous_client_is_told_of_no_session() -> None:
    message = follow(look(session("a"), session("b", "")), who=Principal())
    assert "sessions" not in message


def test_who_waits_for_any_version_counts_for_the_newest_pool_of_its_browser() -> None:
    pools = [PoolCapacity("chromium", version) for version in ("1.9", "1.65")]
    waiting = (PoolCapacity("chromium", "any", waiting=2), PoolCapacity("firefox", "any", waiting=1))
    message = follow(replace(look(), pools=(*waiting, *pools)))
    told = {one["id"]: one["waiting"] for one in message["pools"]["set"]}
    assert told == {"chromium 1.9": 0, "chromium 1.65": 2, "firefox any": 1}
