"""What a worker knows of its driver's connections."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import until
from workers import workspace
from workers.driver import Driver
from workers.orders import Orders


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this process open no file."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_connections_that_cannot_be_counted_are_not_taken_for_gone(tmp_path: Path) -> None:
    own = workspace.create(tmp_path)
    driver = Driver(["sleep", "60"], {}, own, Orders("chromium-00"))
    try:
        with no_descriptors():
            assert driver.connections() == 1
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(driver.socket))
            listener.listen()
            assert driver.connections() == 0
            with socket.socket(socket.AF_UNIX) as client, socket.socket(socket.AF_UNIX) as other:
                client.connect(str(driver.socket))
                other.connect(str(driver.socket))
                first, second = listener.accept()[0], listener.accept()[0]
                with first, second:
                    assert driver.connections() == 2
                    with no_descriptors():
                        assert driver.connections() == 2
    finally:
        driver.process.kill()
        driver.process.wait()
        own.clear(family=False)


def test_a_driver_that_survived_an_error_has_its_worker_drained(tmp_path: Path) -> None:
    own, orders = workspace.create(tmp_path), Orders("chromium-00")
    driver = Driver(["sh", "-c", "echo 'Warning: nobody caught an error: \"x\"' >&2; sleep 60"], {}, own, orders)
    try:
        until(lambda: orders.drain_reason == "its driver had an error", "the worker is to drain")
    finally:
        driver.process.kill()
        driver.process.wait()
        own.clear(family=False)


def test_a_worker_remembers_only_the_last_ends_of_browsers(tmp_path: Path) -> None:
    own, orders = workspace.create(tmp_path), Orders("chromium-00")
    say = 'for pid in $(seq 300); do echo "appliance: process $pid ended with exit code 0"; done; sleep 60'
    driver = Driver(["sh", "-c", say], {}, own, orders)
    try:
        until(lambda: 300 in driver.ends, "the last one is known")
        assert len(driver.ends) == 100
    finally:
        driver.process.kill()
        driver.process.wait()
        own.clear(family=False)
