"""A chaos run, from the start of the appliances to the report."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.chaos import calm, histories, journal
from tests.chaos.faults import Injector
from tests.chaos.load import Visits
from tests.chaos.operators import Operators
from tests.chaos.plan import Fault
from tests.chaos.report import Report
from tests.chaos.rig import Rig, rig
from tests.chaos.watch import CapacityWatch

ALL = 100_000  # entries of the history


def run(rounds: list[list[Fault]], workers: int, clients: int, say: Callable[[str], None]) -> Report:
    """Run rounds of faults against appliances with so many workers each, under the load of so many clients."""
    report = Report()
    with (
        rig(workers, lambda: report.problems, report.other_problems.append) as found,
        CapacityWatch(found) as watch,
        Operators(found, report.other_problems.append) as operators,
    ):
        for faults in rounds:
            _round(
                found,
                faults,
                Visits(found.endpoints, found.url, f"chaos-{faults[0].round}", clients),
                watch,
                report,
                say,
            )
        report.longest_loss_s, report.answers = watch.longest_s, dict(operators.statuses)
    return report


def _round(
    found: Rig, faults: list[Fault], load: Visits, watch: CapacityWatch, report: Report, say: Callable[[str], None]
) -> None:
    """Inject the faults of a round under load, wait until everything is whole, and judge."""
    began, number = time.time(), faults[0].round
    load.start()
    try:
        hits = Injector(found, say).inject(faults)
    finally:
        load.stop()

    def differences() -> list[str]:
        return [*load.busy(), *calm.differences(found, watch.browsers_sessions)]

    after = calm.wait_until_whole(differences, since=max(hit.over for hit in hits))
    load.join()
    say(f"{number:3} whole {'never' if after.whole_after_s is None else f'after {after.whole_after_s:.1f} s'}")
    report.add_hits(number, hits)
    report.add_calm(number, after)
    stories = journal.read(found.logs, watch.workers)
    report.add_sessions(load.outcomes, stories, began)
    entries = [entry for entry in found.state.history(count=ALL) if entry.name.startswith(f"{load.label}-")]
    wrong = histories.problems(entries, watch.history, stories, load.outcomes, report.hits)
    report.other_problems += [f"round {number}: {problem}" for problem in wrong]
