"""A greenlet of the proxy that ends by a fault is noticed."""

from __future__ import annotations

import subprocess
import sys

import gevent
import pytest
from gevent.event import Event

from proxy import loops

FAULTY = """
import gevent
from appliance import logs
from proxy import loops
logs.configure("INFO", "text")
loops.log_faults()
gevent.spawn(lambda: 1 / 0)
gevent.get_hub().loop.run_callback(lambda: {}["guid"])
gevent.sleep(0.1)
logs.flush()
"""


def test_the_faults_of_greenlets_and_callbacks_are_logged_as_events() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTY], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line for line in lines if "event=proxy.fault" in line and "ZeroDivisionError" in line]
    assert [line for line in lines if "event=proxy.fault" in line and "KeyError" in line]
    assert done.stderr == ""


@pytest.mark.parametrize(("error", "ends"), [(gevent.Timeout(1), True), (gevent.GreenletExit(), False)])
def test_a_loop_that_ends_by_a_fault_ends_the_proxy(error: BaseException, ends: bool) -> None:
    stop = Event()
    loop = gevent.spawn(gevent.sleep, 60)
    loops.end_with([loop], stop.set)
    gevent.sleep(0)
    loop.kill(error)
    gevent.sleep(0.05)
    assert stop.is_set() == ends
