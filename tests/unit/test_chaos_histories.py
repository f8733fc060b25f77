"""What a chaos run demands of the history, with values alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.grid.story import Story as Entry
from tests.chaos.faults import Hit
from tests.chaos.histories import problems
from tests.chaos.journal import Story
from tests.chaos.kinds import KINDS
from tests.chaos.plan import Fault
from tests.support.load import Outcome

PASSED = Outcome("s", began=90.0, ended=100.0, stage="close")
FAILED = Outcome("s", began=90.0, ended=100.0, stage="use", error="worker chromium-00 crashed")
GRANTED = {"s": Story("1", ["a.chromium-00.1"], [])}
ENTRY = Entry(
    **{field: "" for field in Entry.__dataclass_fields__ if field not in ("labels", "kept_since_ms")}
    | {"id": "1", "name": "s", "ended_by": "client", "end_reason": "closed"},
    labels={"of": "s"},
)


def hit(name: str, began: float) -> Hit:
    kind = next(kind for kind in KINDS if kind.name == name)
    return Hit(Fault(1, 0.0, kind, 0, 0.0), began, began + 1, worker="a.chromium-00.1")


def judged(entries: list[Entry], outcome: Outcome = PASSED, *hits: Hit, seen: tuple[Entry, ...] = ()) -> list[str]:
    return list(problems(entries, {entry.id: entry for entry in seen}, GRANTED, [outcome], hits))


def test_a_session_with_one_true_entry_is_no_problem() -> None:
    assert judged([ENTRY]) == []
    killed = replace(ENTRY, ended_by="worker")
    assert judged([killed], FAILED, hit("worker.kill", 99.0)) == []


def test_a_session_with_two_entries_is_a_problem_even_if_one_was_seen_before() -> None:
    assert "has 2 entries" in judged([ENTRY, ENTRY])[0]
    assert judged([ENTRY], seen=(ENTRY,)) == []


def test_a_granted_session_is_in_the_history_unless_redis_lost_it() -> None:
    assert "is not in the history" in judged([])[0]
    assert judged([], seen=(ENTRY,)) == []
    assert judged([], PASSED, hit("redis.kill", 99.0)) == []
    assert judged([], PASSED, hit("redis.kill", 80.0))
    assert judged([], PASSED, hit("redis.pause", 99.0))


def test_a_session_that_was_never_granted_need_not_be_in_the_history() -> None:
    assert list(problems([], {}, {"s": Story()}, [FAILED], [])) == []
    assert list(problems([], {}, {}, [FAILED], [])) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"labels": {}}, "other labels"),
        ({"labels": {"of": "t"}}, "other labels"),
        ({"end_reason": ""}, "no reason"),
        ({"ended_by": "moon"}, "no reason"),
        ({"ended_by": "worker"}, "another than its client"),
    ],
)
def test_an_entry_that_says_nothing_or_what_is_untrue_is_a_problem(change: dict[str, object], problem: str) -> None:
    assert problem in judged([replace(ENTRY, **change)])[0]


def test_who_ended_a_session_fits_the_fault_that_it_failed_of() -> None:
    by_operator = replace(ENTRY, ended_by="operator")
    assert "does not fit worker.kill" in judged([by_operator], FAILED, hit("worker.kill", 99.0))[0]
    by_worker = replace(ENTRY, ended_by="worker")
    assert "does not fit proxy.kill" in judged([by_worker], FAILED, hit("proxy.kill", 99.0))[0]
