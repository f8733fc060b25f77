"""When the package index is asked what it has, and what follows from its answer."""

from __future__ import annotations

import threading

import pytest

from appliance.machine.install.index import IndexUnreachable
from appliance.pools.index import Index

FAILS = IndexUnreachable("the package index cannot be reached: no route to host")


class Played:
    """An index that answers in turn, and a clock."""

    def __init__(self, *answers: frozenset[str] | Exception | None) -> None:
        self.answers, self.now, self.asked = list(answers), 0.0, 0
        self.index = Index(self.ask, ["1.64"], lambda: self.now)

    def ask(self) -> frozenset[str] | None:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def refresh(self) -> None:
        self.index.refresh()
        self.index.settle()


def test_a_version_that_the_index_has_not_is_not_to_be_had() -> None:
    played = Played(frozenset({"1.64"}))
    assert played.index.why_not("1.62") == "", "before the first answer nothing is known"
    played.refresh()
    assert played.index.why_not("1.64") == ""
    assert "has no Playwright 1.62" in played.index.why_not("1.62")


def test_what_pip_does_not_say_is_tried() -> None:
    played = Played(None)
    played.refresh()
    assert played.index.why_not("1.62") == ""


def test_an_index_that_answers_is_not_asked_again_unless_it_is_doubted() -> None:
    played = Played(frozenset({"1.64"}), FAILS)
    played.refresh()
    played.now = 1e6
    played.refresh()
    assert played.asked == 1
    played.index.doubt()
    played.refresh()
    assert "no route to host (`pip config list`" in played.index.why_not("1.64")


def test_an_index_that_lacks_a_version_is_asked_again_after_the_longest_pause() -> None:
    played = Played(frozenset({"1.62"}), frozenset({"1.62", "1.64"}))
    played.refresh()
    assert "has no Playwright 1.64" in played.index.why_not("1.64")
    played.now = 599
    played.refresh()
    assert played.asked == 1
    played.now = 600
    played.refresh()
    assert played.index.why_not("1.64") == ""
    played.now = 1e6
    played.refresh()
    assert played.asked == 2, "it has all now"


@pytest.mark.parametrize("nothing", [FAILS, frozenset[str]()], ids=["away", "empty"])
def test_an_index_without_an_answer_is_asked_again_after_longer_and_longer_pauses(
    nothing: frozenset[str] | Exception,
) -> None:
    played = Played(*[nothing] * 3, frozenset({"1.64"}))
    for began_s, pause_s in ((0, 10), (10, 20), (30, 40)):
        played.now = began_s
        played.refresh()
        assert played.index.why_not("1.64")
        asked, played.now = played.asked, began_s + pause_s - 1
        played.refresh()
        assert played.asked == asked
    played.now = 70
    played.refresh()
    assert played.index.why_not("1.64") == ""


def test_a_fault_does_not_make_it_ask_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    played = Played(ZeroDivisionError())
    played.refresh()
    played.refresh()
    assert played.asked == 1
