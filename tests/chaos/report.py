"""What came of a chaos run: faults, sessions, calms, and everything that nothing explains."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.chaos.calm import Calm
from tests.chaos.faults import Hit
from tests.chaos.journal import Story
from tests.chaos.verdict import excuse
from tests.support.load import Outcome

ALIKE_SHOWN = 3


@dataclass(slots=True)
class Report:
    """What came of a run, round after round."""

    hits: list[Hit] = field(default_factory=list)
    calms: list[Calm] = field(default_factory=list)
    passed: int = 0
    excused: Counter[tuple[str, str]] = field(default_factory=Counter)
    unexplained: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    other_problems: list[str] = field(default_factory=list)
    longest_loss_s: float = 0.0
    answers: dict[int, int] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """Everything that nothing explains; of failures that are alike, the first few."""
        lines = list(self.other_problems)
        for alike in self.unexplained.values():
            lines += alike[:ALIKE_SHOWN]
            lines += [f"and {len(alike) - ALIKE_SHOWN} more like that"] * (len(alike) > ALIKE_SHOWN)
        return lines

    def add_sessions(self, outcomes: Iterable[Outcome], stories: dict[str, Story], began: float) -> None:
        """Judge the sessions of a round that began then: passed, excused by a fault, or a problem."""
        for outcome in outcomes:
            story = stories.get(outcome.name)
            if not outcome.error:
                self.passed += 1
            elif hit := excuse(outcome, story, self.hits):
                self.excused[hit.fault.kind.name, _gist(outcome.error)] += 1
            else:
                self.unexplained[_gist(outcome.error)].append(_all_that_is_known(outcome, story, began))

    def add_hits(self, number: int, hits: Iterable[Hit]) -> None:
        """Note the faults of a round, and what they found that should not be."""
        for hit in hits:
            self.hits.append(hit)
            self.other_problems += [f"round {number}, {hit.fault.kind.name}: {what}" for what in hit.wrong]

    def add_calm(self, number: int, calm: Calm) -> None:
        """Note when all was whole again after a round, and what was not in time."""
        self.calms.append(calm)
        self.other_problems += [f"round {number}, late after the last fault: {what}" for what in calm.late]

    def summary(self) -> list[str]:
        """Return the lines that end the log."""
        struck = Counter(hit.fault.kind.name for hit in self.hits)
        missed = Counter(hit.fault.kind.name for hit in self.hits if hit.missed)
        whole_s = [calm.whole_after_s for calm in self.calms]
        slowest = "never" if None in whole_s else f"within {max(whole_s):.1f} s"
        failed, unexplained = self.excused.total(), sum(map(len, self.unexplained.values()))
        return [
            f"{'fault':24}{'times':>8}{'missed':>8}",
            *(f"{name:24}{count:8}{missed[name]:8}" for name, count in sorted(struck.items())),
            f"{'fault':24}{'sessions that failed of it, and what their clients were told':>8}",
            *(f"{name:24}{count:8}  {text}" for (name, text), count in self.excused.most_common()),
            f"Sessions: {self.passed} passed, {failed} failed of their own faults, {unexplained} without one.",
            f"After the last fault of a round everything was whole again {slowest}.",
            f"Under fault after fault the capacity was not whole for {self.longest_loss_s:.1f} s at most.",
            f"Operators were answered by status: {dict(sorted(self.answers.items()))}.",
            *(("Problems:", *(f"  {problem}" for problem in self.problems)) if self.problems else ("No problems.",)),
        ]


def _gist(error: str) -> str:
    """Return what is the same in all errors of a kind: what is said, without the call and the numbers."""
    message = re.search(r'"message": "([^"]*)"', error)
    text = message[1] if message else error.strip().splitlines()[0]
    text = re.sub(r"^[A-Z]\w+\.\w+: |WebSocket error: | \d+\.\d+\.\d+\.\d+:\d+", "", text)
    return re.sub(r"worker [a-z]+-\d\d", "worker …", text)


def _all_that_is_known(outcome: Outcome, story: Story | None, began: float) -> str:
    when = f"+{outcome.began - began:.2f} s to +{outcome.ended - began:.2f} s"
    known = f"relayed to {', '.join(story.workers)}, ended: {story.ends or 'not'}" if story else "never relayed"
    what = " | ".join(outcome.error.splitlines())
    return f"{outcome.name} at {outcome.appliance} {when}, in {outcome.stage} ({known}): {what}"
