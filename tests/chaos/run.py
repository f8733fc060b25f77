"""A chaos run, from the start of the appliance to the report."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos import calm, journal
from tests.chaos.faults import Injector
from tests.chaos.load import Load
from tests.chaos.plan import Fault
from tests.chaos.report import Report
from tests.chaos.watch import CapacityWatch
from tests.system import site
from tests.system.grid import Grid

# Few slots for the clients, so that they queue; a small quota, so that recycling goes on beneath.
SETTINGS = {
    "SPARE_WORKERS": 1,
    "MAX_CONCURRENT_SESSIONS": 2,
    "MAX_LIFETIME_SESSIONS": 20,
    "QUEUE_TIMEOUT": 60,
    "LOG_FORMAT": "json",
}


def run(rounds: list[list[Fault]], workers: int, clients: int, say: Callable[[str], None]) -> Report:
    """Run rounds of faults against an appliance with so many workers, under the load of so many clients."""
    report = Report()
    with site.serve() as url, _appliance(workers, report) as grid, CapacityWatch(grid) as watch:
        for faults in rounds:
            _round(grid, faults, Load(grid.endpoint, url, f"chaos-{faults[0].round}", clients), watch, report, say)
        report.longest_loss_s = watch.longest_s
    return report


def _round(
    grid: Grid, faults: list[Fault], load: Load, watch: CapacityWatch, report: Report, say: Callable[[str], None]
) -> None:
    """Inject the faults of a round under load, wait until everything is whole, and judge."""
    began, number = time.time(), faults[0].round
    load.start()
    try:
        hits = Injector(grid, say).inject(faults)
    finally:
        load.stop()

    def differences() -> list[str]:
        return [*load.busy(), *calm.differences(grid, watch.browsers_sessions)]

    after = calm.wait_until_whole(differences, since=max(hit.over for hit in hits))
    load.join()
    say(f"{number:3} whole {'never' if after.whole_after_s is None else f'after {after.whole_after_s:.1f} s'}")
    report.hits += hits
    report.add_calm(number, after)
    report.add_sessions(load.outcomes, journal.read(grid.run_dir / "log"), began)


@contextmanager
def _appliance(workers: int, report: Report) -> Iterator[Grid]:
    """Run an appliance. What it leaves behind is a problem, too; its logs are kept if there are problems."""
    grid = Grid(Path(tempfile.mkdtemp(prefix="grid-")), CHROMIUM_WORKERS=workers, **SETTINGS)
    try:
        yield grid
    finally:
        kept = Path(tempfile.mkdtemp(prefix="chaos-"))
        shutil.copytree(grid.run_dir / "log", kept, ignore=shutil.ignore_patterns("*.sock"), dirs_exist_ok=True)
        try:
            grid.stop()
        except AssertionError as error:
            report.other_problems.append(str(error))
            shutil.rmtree(grid.run_dir, ignore_errors=True)
        if report.problems:
            report.other_problems.append(f"the appliance's logs are kept in {kept}")
        else:
            shutil.rmtree(kept)
