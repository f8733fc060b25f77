"""Each sentence on why a session waited and why it ended."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.grid import why
from appliance.grid.story import EndedBy, Story

WORKER = "here.chromium-00.1"
REQUEST = {
    "id": "s", "name": "", "browser": "chromium", "minor": "1.65", "client": "", "user_agent": "", "proxy": "here.p",
}  # fmt: skip


def told(
    *, ended_ms: int | None = None, found: dict[str, Any] | None = None, end_of_worker: str = "", **fields: str
) -> list[str]:
    """Return what is told of a session: one that waits, unless `fields` or `ended_ms` say more."""
    record = {"request": json.dumps(REQUEST), "status": "waiting", "started": "1000", **fields}
    if found is not None:
        record["queued"] = json.dumps(found)
    return why.sentences(Story.parse(record, ended_ms), record, end_of_worker)


KIND = "chromium worker of Playwright 1.65"


@pytest.mark.parametrize(
    ("found", "because"),
    [
        ({"available": 0}, f"no {KIND} was available"),
        (
            {"available": 0, "wished": 1},
            f"no {KIND} was there, and an appliance had to fetch its driver or start one (DRIVERS)",
        ),
        ({"available": 1}, f"all slots of the only available {KIND} were taken"),
        ({"available": 3}, "all slots of the 3 available chromium workers of Playwright 1.65 were taken"),
        ({"available": 1, "suspect": 1}, f"1 {KIND} was suspect because a dial had failed"),
        ({"available": 2, "overdue": 2}, "2 chromium workers of Playwright 1.65 were silent for too long"),
        (
            {"available": 3, "suspect": 1, "overdue": 1},
            f"all slots of 1 available {KIND} were taken, 1 {KIND} was suspect because a dial had failed and "
            f"1 {KIND} was silent for too long",
        ),
        ({"available": 1, "overdue": 1, "free": 1}, f"1 {KIND} was silent for too long"),
        ({"available": 1, "free": 1, "avoided": 1}, "its proxy had not reached 1 worker or appliance"),
        (
            {"available": 2, "free": 1, "avoided": 2},
            f"all slots of 1 available {KIND} were taken and its proxy had not reached 2 workers or appliances",
        ),
        ({"available": 0, "away": 1}, f"no {KIND} was available and 1 worker was draining or being started again"),
        (
            {"available": 0, "drained": 2, "ahead": 3},
            f"no {KIND} was available, 2 appliances were drained and 3 sessions waited before it",
        ),
        ({"available": 1, "free": 1}, "no slot was free"),
    ],
)
def test_a_wait_is_explained_by_what_the_session_found(found: dict[str, int], because: str) -> None:
    assert told(found=found) == [f"It waits, because when it came {because}."]


def test_a_session_that_found_a_slot_says_so_and_one_that_waited_says_how_long() -> None:
    served = {"status": "active", "worker": WORKER}
    runs = "It runs on worker chromium-00 of appliance here."
    assert told(**served, granted="1000") == ["It got a slot at once.", runs]
    assert told(**served, granted="3500") == ["It waited 2.5 s for its slot.", runs]
    assert told(**served, granted="3500", found={"available": 1})[0].startswith("It waited 2.5 s, because when it came")


@pytest.mark.parametrize(
    ("blame", "reason"),
    [
        ("worker", "its driver did not answer"),
        ("path", "its appliance was not reached"),
        ("self", "its proxy could not dial"),
    ],
)
def test_a_dial_that_failed_is_told_with_whose_fault_it_was(blame: str, reason: str) -> None:
    assert told(found={"gave_back": [["there.chromium-01.2", blame]]}) == [
        f"It was given worker there.chromium-01.2 and gave it back, because {reason}."
    ]


def test_an_end_without_a_slot_is_the_grids_refusal() -> None:
    assert told(ended_ms=31_000, found={"available": 1}, reason="No slot.", ended_by=EndedBy.GRID)[1:] == [
        "It never had a slot.",
        "The grid refused it: No slot.",
    ]


def test_a_workers_drain_and_end_are_told_unless_they_are_the_sessions_own_reason() -> None:
    ran = {"worker": WORKER, "granted": "1000", "reason": "worker chromium-00 crashed", "ended_by": EndedBy.WORKER}
    left = {"left": "quota reached"}
    assert told(ended_ms=3000, end_of_worker="worker chromium-00 crashed", **ran, **left)[1:] == [
        "It ran on worker chromium-00 of appliance here for 2.0 s.",
        "Its worker ended it: worker chromium-00 crashed.",
        "Its worker drained: quota reached.",
    ]
    by_client = ran | {"reason": "client disconnected", "ended_by": EndedBy.CLIENT}
    assert told(ended_ms=3000, end_of_worker="killed", **by_client)[-1] == "The client ended it: client disconnected."


def test_every_cause_of_an_end_has_a_sentence() -> None:
    sentences = {told(ended_ms=3000, ended_by=by)[-1] for by in EndedBy}
    assert len(sentences) == len(EndedBy)
    assert told(ended_ms=3000, ended_by="sunspots") == ["It ended."]


def test_a_kept_session_is_said_to_wait_for_its_next_client() -> None:
    assert told(status="active", worker=WORKER, granted="1000", kept="2000")[-1] == (
        "It has no client now, and is kept for the next one."
    )
