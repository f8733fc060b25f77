"""The processes of simulators, as the benchmark orders them about."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from types import TracebackType
from typing import Any

from tests.bench.scale.plan import Plan
from tests.bench.scale.tally import Tally


class Fleet:
    """All simulators; they run while the `with` block does."""

    def __init__(self, plan: Plan) -> None:
        """Use the plan; nothing is started yet."""
        self._plan = plan
        self._processes: list[subprocess.Popen[str]] = []
        self.counts: Counter[str] = Counter()
        self.sessions = 0
        self.lag_s = 0.0

    def __enter__(self) -> Fleet:
        """Start the processes; the appliances come up by and by."""
        Tally.create(self._plan)
        for number in range(self._plan.processes):
            command = [sys.executable, "-m", "tests.bench.scale.simulator", self._plan.dump(), str(number)]
            self._processes.append(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
            process.wait()

    def order(self, **order: Any) -> list[dict[str, Any]]:
        """Return all of them an order, and wait for the answers."""
        answers = []
        for process in self._processes:
            assert process.stdin
            process.stdin.write(json.dumps(order) + "\n")
        for process in self._processes:
            assert process.stdout
            line = process.stdout.readline()
            assert line, "a simulator has ended; its error is above"
            answers.append(json.loads(line))
        return answers

    def look(self) -> None:
        """Learn how many sessions there are, and what has happened since the last look."""
        answers = self.order(report=True)
        self.sessions = sum(answer["sessions"] for answer in answers)
        self.lag_s = max(answer["lag_s"] for answer in answers)
        self.counts = sum((Counter(answer["counts"]) for answer in answers), Counter())
