"""What came of a chaos run: faults, sessions, calms, and everything that nothing explains."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.chaos.calm import Calm
from tests.chaos.faults import Hit
from tests.chaos.journal import Story
from tests.chaos.load import Outcome
from tests.chaos.verdict import excuse


@dataclass(slots=True)
class Report:
    """What came of a run, round after round."""

    hits: list[Hit] = field(default_factory=list)
    calms: list[Calm] = field(default_factory=list)
    passed: int = 0
    excused: Counter[tuple[str, str]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    longest_loss_s: float = 0.0

    def add_sessions(self, outcomes: Iterable[Outcome], stories: dict[str, Story], began: float) -> None:
        """Judge the sessions of a round that began then: passed, excused by a fault, or a problem."""
        for outcome in outcomes:
            story = stories.get(outcome.name)
            if not outcome.error:
                self.passed += 1
            elif hit := excuse(outcome, story, self.hits):
                self.excused[hit.fault.kind.name, _gist(outcome.error)] += 1
            else:
                self.problems.append(_all_that_is_known(outcome, story, began))

    def add_calm(self, number: int, calm: Calm) -> None:
        """Note when all was whole again after a round, and what was not in time."""
        self.calms.append(calm)
        self.problems += [f"round {number}, late after the last fault: {what}" for what in calm.late]

    def summary(self) -> list[str]:
        """Give the lines that end the log."""
        struck = Counter(hit.fault.kind.name for hit in self.hits)
        missed = Counter(hit.fault.kind.name for hit in self.hits if hit.missed)
        lines = ["", f"{'fault':24}{'times':>8}{'missed':>8}"]
        lines += [f"{name:24}{count:8}{missed[name]:8}" for name, count in sorted(struck.items())]
        lines += ["", f"{'sessions that failed':24}{'times':>8}  the client was told"]
        lines += [f"{name:24}{count:8}  {text}" for (name, text), count in self.excused.most_common()]
        failed = sum(self.excused.values())
        slowest = "never" if None in (whole := [c.whole_after_s for c in self.calms]) else f"{max(whole):.1f} s"
        lines += ["", f"{self.passed} sessions passed, {failed} failed by a fault of their own."]
        lines += [f"A round's end to everything whole again: {slowest} at most."]
        lines += [f"Without its whole capacity, under fault after fault: {self.longest_loss_s:.1f} s at most."]
        lines += [f"Problems: {len(self.problems) or 'none'}", *(f"  {problem}" for problem in self.problems)]
        return lines


def _gist(error: str) -> str:
    """Give what is the same in all errors of a kind: what is said, without the call and the numbers."""
    message = re.search(r'"message": "([^"]*)"', error)
    text = message[1] if message else error.strip().splitlines()[0]
    text = re.sub(r"^[A-Z]\w+\.\w+: |WebSocket error: | 127\.0\.0\.1:\d+", "", text)
    return re.sub(r"worker [a-z]+-\d\d", "worker …", text)


def _all_that_is_known(outcome: Outcome, story: Story | None, began: float) -> str:
    when = f"+{outcome.began - began:.2f} s to +{outcome.ended - began:.2f} s"
    known = f"relayed to {', '.join(story.workers)}, ended: {story.ends or 'not'}" if story else "never relayed"
    return f"{outcome.name} {when}, in {outcome.stage} ({known}): {' | '.join(outcome.error.splitlines())}"
