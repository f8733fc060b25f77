"""`python -m tests.bench.scale.simulator PLAN NUMBER`: one process of simulated appliances.

Takes orders on standard input, each a line of JSON, and answers each on standard output: `rate` (of all processes'
sessions per second, this one's share is taken), `cut` (the number of an appliance), `report`. Ends with its input.
"""

from gevent import monkey

monkey.patch_all()

import gc  # noqa: E402  # nothing may be imported before the patch
import json  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from gevent.fileobject import FileObject  # noqa: E402

from appliance import logs  # noqa: E402
from appliance.grid import mailbox  # noqa: E402
from appliance.machine import kernel  # noqa: E402
from tests.bench.scale.appliance import Appliance  # noqa: E402
from tests.bench.scale.clients import Clients  # noqa: E402
from tests.bench.scale.plan import Plan  # noqa: E402
from tests.bench.scale.tally import Tally  # noqa: E402

LAG_STEP_S = 0.02
SPREAD_S = 15.0  # over which the appliances start; those of a real grid were not switched on at once, either


class Simulator:
    """The appliances of one process, and their clients."""

    def __init__(self, plan: Plan, number: int) -> None:
        """Use the plan, and which of its processes this is."""
        self._plan = plan
        tally = Tally(plan, number)
        self._appliances = {n: Appliance(plan.settings(f"a{n}"), tally) for n in plan.appliances_of(number)}
        self._clients = Clients(list(self._appliances.values()), plan, tally)
        self._lag_s = 0.0

    def start(self) -> None:
        """Start everything, over SPREAD_S or, if the appliances are few, sooner."""
        gevent.spawn(self._measure_lag)
        gevent.spawn(self._clients.run)
        step_s = min(0.1, SPREAD_S / self._plan.appliances)
        for number, appliance in self._appliances.items():
            gevent.spawn_later(number * step_s, appliance.start)

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do what an order says; returns the answer."""
        if "rate" in order:
            self._clients.set_rate(order["rate"] / self._plan.processes)
        if order.get("cut") in self._appliances:
            self._appliances[order["cut"]].cut()
        if order.get("report"):
            return self._report()
        return {}

    def _report(self) -> dict[str, Any]:
        """Return what has happened since the last report."""
        lag_s, self._lag_s = self._lag_s, 0.0
        counts = dict(self._clients.counts)
        self._clients.counts.clear()
        return {"counts": counts, "lag_s": lag_s, "sessions": self._clients.holding}

    def _measure_lag(self) -> None:
        """Find how long greenlets that could run have to wait for their turn: that is this process's own fault."""
        while True:
            due = time.monotonic() + LAG_STEP_S
            gevent.sleep(LAG_STEP_S)
            self._lag_s = max(self._lag_s, time.monotonic() - due)


def main() -> None:
    """Simulate until the input ends."""
    orders, answers = FileObject(sys.stdin.buffer, "rb"), os.fdopen(os.dup(sys.stdout.fileno()), "w")
    sys.stdout = sys.stderr  # for the logs
    kernel.allow_open_files()
    kernel.die_with_parent(signal.SIGTERM)
    logs.configure("ERROR", "text", start_thread=monkey.get_original("_thread", "start_new_thread"))
    mailbox.LOOK_INTERVAL_S = 3600.0
    simulator = Simulator(Plan.parse(sys.argv[1]), int(sys.argv[2]))
    gc.disable()  # to look at all that is simulated would stop it for seconds; what is lost in minutes is little
    simulator.start()
    for line in orders:
        answers.write(json.dumps(simulator.obey(json.loads(line))) + "\n")
        answers.flush()
    os._exit(0)  # nothing of it is worth taking apart


if __name__ == "__main__":
    main()
