"""The worker processes of an appliance, one after another of each name: launch turn, launch, work, drain, respawn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from appliance.grid.grid import Grid
from appliance.grid.values import WorkerSpec
from appliance.names import Browser
from tests.simulation.agenda import Agenda
from tests.simulation.case import Case
from tests.simulation.store import SimulatedStore

VERSION = "1.65.2"


class Appliance:
    """One appliance: whoever of its workers wants to launch stands in line, and the first asks for its turn."""

    def __init__(
        self,
        name: str,
        target: int,
        case: Case,
        agenda: Agenda,
        store: SimulatedStore,
        check: Callable[[str, dict[str, Any]], None],
    ) -> None:
        """Use its name, how many of its workers are to serve, and what sees each heartbeat's answer."""
        self.name = name
        self.target = target
        self.case = case
        self.agenda = agenda
        self.check = check
        self.grid = Grid(store)
        self._store = store
        self._line: deque[Program] = deque()

    def start(self) -> list[Program]:
        """Start all workers; returns the programs."""
        programs = [Program(self, number) for number in range(self.target + self.case.spares)]
        for program in programs:
            program.start()
        return programs

    def line_up(self, program: Program) -> None:
        """Let a program's worker launch when it is its turn."""
        self._line.append(program)
        if len(self._line) == 1:
            self._ask()

    def _ask(self) -> None:
        wait_s = self.grid.take_launch_turn(self.name, self.case.stagger_s)
        self._store.persist("launch", self.name)
        if wait_s:
            self.agenda.after(wait_s, self._ask)
            return
        self.agenda.after(self.case.launch_s, self._line.popleft().register)
        if self._line:
            self._ask()


class Program:
    """A program of supervisord's, and the worker that it runs now. `worker` is its id while it is registered."""

    def __init__(self, appliance: Appliance, number: int) -> None:
        """Use the appliance and the program's number."""
        self.name = f"{Browser.CHROMIUM}-{number:02}"
        self.full_name = f"{appliance.name}.{self.name}"  # what the ids of its workers begin with
        self.worker = ""
        self.absences: list[tuple[float, float]] = []  # from each worker's drain to the registration of its successor
        self._appliance = appliance
        self._workers = 0
        self.drained_s: float | None = None  # when its worker was drained, if that is not yet replaced

    def start(self) -> None:
        """Start a worker, which wants to launch."""
        self._appliance.line_up(self)

    def register(self) -> None:
        """Say that the worker has launched."""
        appliance, case = self._appliance, self._appliance.case
        self._workers += 1
        self.worker = f"{self.full_name}.{self._workers:06x}"
        if self.drained_s is not None:
            self.absences.append((self.drained_s, appliance.agenda.now_s))
            self.drained_s = None
        numbers = (case.concurrency, case.quota, int(case.beat_s * 3000), 1, appliance.target)
        place = (appliance.name, self.name)
        appliance.grid.register_worker(
            WorkerSpec(self.worker, Browser.CHROMIUM, VERSION, *place, *numbers, case.spares)
        )
        self._beat(self.worker)

    def _beat(self, worker: str) -> None:
        """Send heartbeats, the first at once, until the worker has ended."""
        appliance = self._appliance
        if worker == self.worker:
            answer = appliance.grid.heartbeat_worker(worker, 0, healthy=True)
            assert answer, "a worker was forgotten"
            appliance.check(worker, answer)
            appliance.agenda.after(appliance.case.beat_s, partial(self._beat, worker))

    def drain(self, worker: str, reason: str) -> None:
        """Do what a worker does that was told to drain: ask for it, and end if it has no sessions."""
        self.drained_s = self._appliance.agenda.now_s
        if self._appliance.grid.drain_worker(worker, reason) == 0:
            self.end(worker)

    def end(self, worker: str) -> None:
        """Do what a worker does whose last session has ended."""
        if worker == self.worker:
            self.worker = ""
            self._appliance.grid.remove_worker(worker, "recycled")
            self._appliance.agenda.after(self._appliance.case.respawn_s, self.start)
