"""Does what the plan says, and notes what was hit."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import psutil
import redis

from appliance.errors import SupervisorError
from appliance.machine.supervisor import Supervisor
from appliance.request_errors import StoreUnavailable
from tests.chaos import hostile, redis_faults, targets
from tests.chaos.bounded import BoundedMember
from tests.chaos.calm import WHOLE_WITHIN_S
from tests.chaos.causes import act_on, unreadable_folder
from tests.chaos.kinds import Target
from tests.chaos.plan import Fault
from tests.chaos.rig import Rig, name_of
from tests.chaos.targets import Missing, WorkersTree
from tests.support.appliance import Appliance

BACK_WITHIN_S = 60.0
LOOK_INTERVAL_S = 0.05
SET_IN_S = 0.5  # until a machine has given out
KEEP_FROM_STARTING = ("unspawned", "forks", "disk")
ROUTES = ("blackhole", "unreachable", "prohibit")


@dataclass(slots=True)
class Hit:
    """What a fault hit: the appliance, and the worker with its id and name.

    Times are seconds of the clock: it `began`, it was `over` with the last signal, and it had `ended` when
    the proxy or Redis served again. `wrong` is what the fault itself found that should not be.
    """

    fault: Fault
    began: float
    ended: float = 0.0
    over: float = 0.0
    appliance: str = ""
    worker: str = ""
    worker_name: str = ""
    what: str = ""
    missed: bool = False
    wrong: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return the fault, and what it hit in this run."""
        return f"{self.fault.line()} {self.what}"


class Injector:
    """Injects the faults of a round, each at its time in a thread of its own."""

    def __init__(self, rig: Rig, say: Callable[[str], None]) -> None:
        """Use the appliances to be hit, and who is told of each fault."""
        self._rig = rig
        self._say = say
        self._state = rig.own_state()
        self._hits: list[Hit] = []  # those that are not over, too

    def inject(self, faults: Iterable[Fault]) -> list[Hit]:
        """Inject faults at their times, counted from now; returns when the last one is over."""
        begin = time.monotonic()
        running: list[Future[Hit]] = []
        with ThreadPoolExecutor(16) as pool:
            for fault in faults:
                time.sleep(max(0.0, begin + fault.at_s - time.monotonic()))
                running.append(pool.submit(self._inject, fault))
        return [future.result() for future in running]

    def _inject(self, fault: Fault) -> Hit:
        member = self._rig.members[fault.number % len(self._rig.members)]
        hit = Hit(fault, time.time(), appliance=name_of(member))
        self._hits.append(hit)
        try:
            self._strike(fault, hit, member)
        except (
            *(Missing, psutil.NoSuchProcess, ProcessLookupError, FileNotFoundError),
            *(StoreUnavailable, SupervisorError, redis.RedisError),
        ) as error:
            hit.missed = True
            hit.what += f" missed: {error}"
        hit.ended = time.time()
        hit.over = hit.over or hit.ended
        self._say(hit.line())
        return hit

    def _strike(self, fault: Fault, hit: Hit, member: Appliance) -> None:
        match fault.kind.target:
            case Target.WORKER:
                self._strike_worker(fault, hit)
            case Target.PROXY:
                self._strike_server(fault, hit, member, lambda: _proxy_answers(member))
            case Target.AGENTS:
                self._strike_server(fault, hit, member, lambda: targets.is_there(member, fault.kind.part))
            case Target.REDIS:
                self._strike_redis(fault, hit)
            case Target.APPLIANCE | Target.ROUTE:
                self._strike_appliance(fault, hit, member)
            case Target.CLIENT:
                self._attack(fault, hit, member)

    def _strike_worker(self, fault: Fault, hit: Hit) -> None:
        who, victims = self._victims(fault.kind.part, fault.number)
        hit.began, hit.appliance, hit.worker, hit.worker_name = time.time(), name_of(who.grid), who.id, who.name
        hit.what = f"{who.id} {' '.join(str(victim.pid) for victim in victims)}"
        match fault.kind.act:
            case "drain":
                done = who.grid.applctl("workers", "drain", who.name, check=False)
                hit.what = f"{who.id}: {(done.stdout + done.stderr).strip()}"
            case "unreadable":
                self._replace_beside_a_bad_folder(hit, who, victims)
            case act:
                act_on(act, victims, who.grid, fault.lasts_s, fault.number)

    def _replace_beside_a_bad_folder(self, hit: Hit, who: WorkersTree, victims: list[psutil.Process]) -> None:
        """Kill a worker, whose successor must come up although one folder cannot be swept."""
        with unreadable_folder(who.grid, who.name, Supervisor(who.grid.run_dir).pid()):
            act_on("kill", victims, who.grid)
            hit.over = time.time()
            if not _wait_until(lambda: self._has_successor(who)):
                hit.wrong.append(f"beside an unreadable folder, {who.name} of {hit.appliance} is not replaced")

    def _has_successor(self, who: WorkersTree) -> bool:
        try:
            found = self._state.workers()
        except StoreUnavailable:
            return False
        full_name = who.id.rpartition(".")[0]
        return any(worker.id.rpartition(".")[0] == full_name and worker.id != who.id for worker in found)

    def _victims(self, part: str, number: int) -> tuple[WorkersTree, list[psutil.Process]]:
        """Find a worker that has such processes, or wait until there is one again; raises Missing."""
        deadline = time.monotonic() + BACK_WITHIN_S
        while time.monotonic() < deadline:
            for who in targets.workers(self._rig.members, number):
                if victims := who.part(part):
                    return who, victims
            time.sleep(LOOK_INTERVAL_S)
        raise Missing(f"no worker with a {part}")

    def _strike_redis(self, fault: Fault, hit: Hit) -> None:
        first = self._rig.members[0]
        hit.appliance = name_of(first)
        if fault.kind.act in redis_faults.ACTS:
            _wait_until(self._redis_answers)
            hit.began, url = time.time(), self._state.store.url
            hit.what = redis_faults.strike(fault.kind.act, url, fault.number, fault.lasts_s)
        else:
            self._strike_server(fault, hit, first, self._redis_answers)

    def _strike_server(self, fault: Fault, hit: Hit, member: Appliance, answers: Callable[[], bool]) -> None:
        """Act on a proxy or Redis, and wait until it answers again."""
        server = self._server(member, fault.kind.part)
        hit.began = time.time()
        hit.what = f"{fault.kind.part} {server.pid} of {hit.appliance}"
        act_on(fault.kind.act, [server], member, fault.lasts_s, fault.number)
        hit.over = time.time()
        if fault.kind.act in ("kill", "terminate"):
            _wait_until(lambda: _has_ended(server))
        _wait_until(answers)
        if fault.kind.act == "unspawned":  # all are without it for so long that nothing else can be whole meanwhile
            took_s = time.time() - self._could_start_from(hit)
            if took_s > WHOLE_WITHIN_S and not self._was_struck_again(hit):
                hit.wrong.append(f"{hit.what} was back {took_s:.1f} s after the cause")
            hit.over = time.time()

    def _server(self, member: Appliance, name: str) -> psutil.Process:
        """Find an appliance's proxy or Redis, or wait until it is there again; raises Missing."""
        _wait_until(lambda: targets.is_there(member, name))
        return targets.process(member, name)

    def _could_start_from(self, hit: Hit) -> float:
        """Return when the last fault was over that kept processes of an appliance from being started."""
        causes = [
            one for one in self._hits if one.appliance == hit.appliance and one.fault.kind.act in KEEP_FROM_STARTING
        ]
        return max(one.over or time.time() for one in causes)

    def _was_struck_again(self, hit: Hit) -> bool:
        """Return whether another fault met a process while it came back."""
        part = hit.fault.kind.part
        return any(
            one.fault.kind.part == part and one.appliance == hit.appliance and one.began > hit.over
            for one in self._hits
            if one is not hit
        )

    def _strike_appliance(self, fault: Fault, hit: Hit, member: Appliance) -> None:
        assert isinstance(member, BoundedMember)
        hit.what = hit.appliance
        match fault.kind.act:
            case "forks":
                self._meanwhile(lambda: member.group.stay_full(fault.lasts_s), lambda: self._kill_worker(hit, member))
            case "disk":
                self._meanwhile(lambda: member.keep_disk_full(fault.lasts_s), lambda: self._kill_worker(hit, member))
            case "cut-off":
                first, *others = self._rig.members
                member = others[fault.number % len(others)]
                how = ROUTES[fault.number % len(ROUTES)]
                hit.appliance, hit.what = name_of(member), f"{name_of(member)} by {how}"
                with member.cut_off(first.host, how):  # Redis has another address
                    time.sleep(fault.lasts_s)

    def _meanwhile(self, cause: Callable[[], None], act: Callable[[], None]) -> None:
        """Do something while a cause lasts."""
        with ThreadPoolExecutor(1) as pool:
            lasting = pool.submit(cause)
            time.sleep(SET_IN_S)
            act()
        lasting.result()

    def _kill_worker(self, hit: Hit, member: Appliance) -> None:
        """Kill a worker of an appliance, so that there is something to be started."""
        for who in targets.workers([member], hit.fault.number):
            act_on("kill", who.part("worker"), member)
            hit.worker, hit.worker_name = who.id, who.name
            hit.what += f", {who.id} is killed"
            return

    def _attack(self, fault: Fault, hit: Hit, member: Appliance) -> None:
        """Let a hostile client do its act, and note which worker it had."""
        name = f"hostile-{fault.round}-{fault.number}-{fault.kind.act}"
        with ThreadPoolExecutor(1) as pool:
            attack = pool.submit(hostile.attack, fault.kind.act, member.endpoint, name)
            while not attack.done():
                hit.worker = hit.worker or self._worker_of(name)
                time.sleep(LOOK_INTERVAL_S)
        hit.worker_name, hit.what = hit.worker.partition(".")[2].rpartition(".")[0], hit.worker
        hit.wrong += attack.result()

    def _worker_of(self, name: str) -> str:
        try:
            return next((s.worker or "" for s in self._state.sessions() if s.name == name), "")
        except StoreUnavailable:
            return ""

    def _redis_answers(self) -> bool:
        try:
            self._state.store.ping()
        except StoreUnavailable:
            return False
        return True


def _proxy_answers(member: Appliance) -> bool:
    try:
        return member.get("/healthz")["status"] == "ok"
    except (OSError, http.client.HTTPException):
        return False


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _wait_until(condition: Callable[[], bool]) -> bool:
    """Wait for a condition for BACK_WITHIN_S at most; return whether it came, which is for the verdict to judge."""
    deadline = time.monotonic() + BACK_WITHIN_S
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(LOOK_INTERVAL_S)
    return holds
