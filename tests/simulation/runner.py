"""Runs cases, some at a time."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from multiprocessing.queues import Queue

from tests.simulation.case import Case
from tests.simulation.result import Result, run
from tests.support.redis_server import redis_server

_url = ""  # of the Redis server of this process


def simulate(cases: Sequence[Case], processes: int) -> Iterator[Result]:
    """Run all cases, each process with a Redis server of its own; returns the results as they come."""
    context = multiprocessing.get_context("spawn")
    urls: Queue[str] = context.Queue()
    with ExitStack() as stack:
        executor = ProcessPoolExecutor(processes, context, _take_server, (urls,))
        stack.callback(executor.shutdown, cancel_futures=True)
        for _ in range(processes):  # after the executor, so that at an interrupt they end before it waits for cases
            urls.put(stack.enter_context(redis_server()))
        largest_first = sorted(cases, key=lambda case: case.total, reverse=True)
        for future in as_completed([executor.submit(_run, case) for case in largest_first]):
            yield future.result()


def _take_server(urls: Queue[str]) -> None:
    global _url
    _url = urls.get()


def _run(case: Case) -> Result:
    return run(_url, case)
