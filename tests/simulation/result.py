"""What one run showed."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

from tests.simulation.case import Case
from tests.simulation.reference import can_be_held
from tests.simulation.simulator import Simulation, Stuck

HELD, FAILED, FORCED, STUCK = "held", "failed", "forced", "stuck"


@dataclass(frozen=True)
class Result:
    """One run's figures; times are seconds of the simulation."""

    case: Case
    verdict: str  # held; failed: it was not and could have been; forced: no policy could; stuck
    can: bool  # it can be held
    worst: float  # share of the workers that was available at the worst moment
    worst_at_s: float
    below: float  # share of the time with more than one worker missing
    mean: float  # share of the workers that was available on average
    away: int  # most workers at once that were neither available nor spare
    demand: float  # workers that are away at once on average, whatever the policy, by the absences of the run
    least_demand: float  # the same, if sessions were spread
    away_s: float  # mean absence of a recycled worker
    longest_away_s: float
    recycled: int
    used: float  # mean share of its quota that a recycled worker had served
    waited: int  # sessions
    longest_wait_s: float
    shared: float  # sessions that a new one found on its worker, on average
    violations: int  # drains while another drained and a third could have taken the session
    simulated_s: float
    took_s: float  # of real time

    @property
    def is_short(self) -> bool:
        """Return whether the run saw too little of recycling for its verdict to mean much."""
        return self.case.total < 2 * self.case.workers * self.case.quota

    def row(self) -> dict[str, Any]:
        """Return everything by name, flat."""
        rest = {name: value for name, value in asdict(self).items() if name != "case"}
        return asdict(self.case) | {"total": self.case.total, "used_beat_s": self.case.beat_s} | rest


def run(url: str, case: Case) -> Result:
    """Simulate a case on a Redis of its own. Raises what the simulation or the library fails with."""
    began = time.perf_counter()
    simulation = Simulation(url, case)
    is_stuck = False
    try:
        simulation.run()
    except Stuck:
        is_stuck = True
    except (AssertionError, RuntimeError) as error:
        error.add_note(str(case))
        raise
    return _result(simulation, is_stuck, time.perf_counter() - began)


def _result(simulation: Simulation, is_stuck: bool, took_s: float) -> Result:
    case, seen, absences = simulation.case, simulation.pool.measures, simulation.absences
    away_s = [end_s - start_s for start_s, end_s in absences]
    mean_away_s = statistics.fmean(away_s) if away_s else case.least_away_s
    demand = case.demand(mean_away_s)
    can = can_be_held(case, seen.starts_s, absences)
    held = seen.worst >= case.workers - 1
    return Result(
        case=case,
        verdict=STUCK if is_stuck else HELD if held else FAILED if can else FORCED,
        can=can,
        worst=seen.worst / case.workers,
        worst_at_s=seen.worst_at_s,
        below=seen.below_s / seen.ended_s,
        mean=seen.available_s / seen.ended_s / case.workers,
        away=seen.away,
        demand=demand,
        least_demand=case.demand(case.least_away_s),
        away_s=mean_away_s,
        longest_away_s=max(away_s, default=0.0),
        recycled=len(seen.used),
        used=statistics.fmean(seen.used) if seen.used else 0.0,
        waited=len(simulation.waits_s),
        longest_wait_s=max(simulation.waits_s, default=0.0),
        shared=seen.shared / max(1, len(seen.starts_s)),
        violations=seen.violations,
        simulated_s=seen.ended_s,
        took_s=took_s,
    )
