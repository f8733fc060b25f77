"""The image without anything given to it: a grid of its own, whose token its console shows."""

from __future__ import annotations

import re
import time
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.image.machine import SITE, STEP_S, Machine, MakeMachine, Measured
from tests.image.session import Client, use

MAX_TO_FIRST_SESSION_S = 150


@pytest.fixture(scope="module")
def machine(make_machine: MakeMachine) -> Machine:
    return make_machine("alone")


def token_of(machine: Machine) -> str:
    return re.findall(r"Token +([0-9a-f]{32})", machine.on_console(": ready"))[-1]


@pytest.fixture(scope="module")
def token(machine: Machine) -> str:
    return token_of(machine)


def test_its_console_shows_the_endpoint_and_a_token_that_lets_in(
    machine: Machine, token: str, measured: Measured
) -> None:
    assert use(machine.endpoint, token).title == "A page of the client's"
    took_s = time.monotonic() - machine.started_at
    measured["from power on to the end of the first session, in seconds"] = round(took_s)
    assert "ws://203.0.113.15:8080" in machine.console.read_text(errors="replace")
    assert took_s <= MAX_TO_FIRST_SESSION_S


def test_a_page_does_not_reach_the_machines_own_network(machine: Machine, token: str) -> None:
    assert use(machine.endpoint, token, SITE).fetched[SITE] != "reached"


def test_nobody_gets_in_without_the_token(machine: Machine) -> None:
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{machine.http}/api/v1/capacity", timeout=STEP_S)
    assert refused.value.code == 401


def test_the_power_button_lets_a_session_end_by_itself(machine: Machine, token: str) -> None:
    client = Client(machine.endpoint, token, hold_s=8)
    client.saw()
    machine.press_power_button()
    assert client.end() == ""
    machine.await_off()


def test_the_token_is_the_same_after_it_is_switched_on_again(machine: Machine, token: str) -> None:
    machine.start()
    assert token_of(machine) == token
    assert use(machine.endpoint, token).title == "A page of the client's"
