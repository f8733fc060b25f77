"""The results as tables."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.simulation.case import Case
from tests.simulation.result import FAILED, FORCED, HELD, STUCK, Result

SUMMARY = (
    f"{'':26}{'cases':>6}{'held':>6}{'forced':>7} │{'can be':>7}{'held':>6}{'failed':>7}"
    f"{'worst':>7}{'below':>8}{'used':>7}{'shared':>7}{'viol.':>7}"
)
CASES = (
    f"{'N':>4}{'S':>3}{'c':>4}{'Q':>5}{'length':>8}{'load':>6} │{'worst':>7}{'below':>8}{'mean':>7}{'away':>6}"
    f"{'demand':>8}{'least':>7}{'used':>7}{'waited':>8}{'longest':>9}{'viol.':>7}{'recycled':>9}"
)


def pace(result: Result) -> str:
    """Say how a case's sessions compare with a worker's respawn and launch."""
    case = result.case
    return "quicker" if case.length_s < case.respawn_s + case.launch_s else "longer"


def band(result: Result) -> str:
    """Say how much recycling a case needs, of that which can be borne."""
    share = result.demand / result.case.bearable
    return next((f"≤ {limit}" for limit in (0.05, 0.25, 0.5, 0.7, 1.0) if share <= limit), "> 1")


def _of(name: str) -> Callable[[Result], Any]:
    return lambda result: getattr(result.case, name)


REGIMES: dict[str, Callable[[Result], Any]] = {
    "sessions than a respawn": pace,
    "demand / bearable": band,
    "load": _of("load"),
    "workers": _of("workers"),
    "spares": _of("spares"),
    "quota": _of("quota"),
    "concurrency": _of("concurrency"),
    "length, s": _of("length_s"),
}


def summary(results: Sequence[Result]) -> str:
    """Return one line for all cases and one for each regime; right of the bar, of those that can be held."""
    lines = [SUMMARY, _line("all", results)]
    for title, regime in REGIMES.items():
        groups: dict[Any, list[Result]] = defaultdict(list)
        for result in results:
            groups[regime(result)].append(result)
        if len(groups) > 1:
            lines += ["", *(_line(f"{title}: {name}", groups[name]) for name in sorted(groups, key=_rank))]
    return "\n".join(lines)


def _rank(name: Any) -> Any:
    return (len(name), name) if isinstance(name, str) and name.startswith(">") else (0, name)


def _line(title: str, results: Sequence[Result]) -> str:
    can = [result for result in results if result.can]
    verdicts = [sum(result.verdict == name for result in results) for name in (HELD, FORCED)]
    left = f"{title:26}{len(results):6}{verdicts[0]:6}{verdicts[1]:7} │{len(can):7}"
    if not can:
        return left
    held = sum(result.verdict == HELD for result in can)
    means = [sum(getattr(result, name) for result in can) / len(can) for name in ("below", "used", "shared")]
    return (
        f"{left}{held:6}{len(can) - held:7}{min(result.worst for result in can):7.2f}{means[0]:8.2%}{means[1]:7.2f}"
        f"{means[2]:7.2f}{sum(result.violations for result in can):7}"
    )


def failures(results: Iterable[Result], most: int) -> str:
    """List the cases that could have been held and were not, the worst first."""
    failed = sorted((r for r in results if r.verdict in (FAILED, STUCK)), key=lambda r: (r.verdict, r.worst, -r.below))
    more = f"\n… and {len(failed) - most} more" if len(failed) > most else ""
    return table(failed[:most]) + more


def table(results: Iterable[Result]) -> str:
    """Return a line for each case; a star marks one that saw less than two generations."""
    return "\n".join([CASES, *(_case(result) for result in results)])


def _case(result: Result) -> str:
    capacity = f"{result.worst:7.2f}{result.below:8.2%}{result.mean:7.3f}{result.away:6}"
    recycling = f"{result.demand:8.2f}{result.least_demand:7.2f}{result.used:7.2f}"
    waiting = f"{result.waited:8}{result.longest_wait_s:9.1f}{result.violations:7}{result.recycled:9}"
    star = "*" if result.is_short else " "
    return f"{_named(result.case)} │{capacity}{recycling}{waiting}{star} {result.verdict}"


def _named(case: Case) -> str:
    return f"{case.workers:4}{case.spares:3}{case.concurrency:4}{case.quota:5}{case.length_s:8g}{case.load:6g}"


def write_csv(path: Path, results: Sequence[Result]) -> None:
    """Write all figures of all cases."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, results[0].row())
        writer.writeheader()
        writer.writerows(result.row() for result in results)
