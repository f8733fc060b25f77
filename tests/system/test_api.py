"""The REST API of a real grid: its examples, sessions that are ended by it, events as they happen, and web pages."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Error, sync_playwright

from tests.support.appliance import Appliance
from tests.support.waiting import until
from tests.support.wire import Wire

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
EXAMPLES = re.findall(r"^    (curl (?:.*\\\n)*.*)$", PAGE.read_text(), re.MULTILINE)


def asked(grid: Appliance, path: str, method: str = "GET", **headers: str) -> tuple[int, Any]:
    with Wire(grid.port) as wire:
        answer = wire.get(f"/api/v1{path}", headers, method)
    return answer.status, json.loads(answer.body)


@pytest.mark.parametrize("example", [one for one in EXAMPLES if "follow" not in one])
def test_an_example_of_the_page_is_answered(grid: Appliance, example: str) -> None:
    command = example.replace("8080", str(grid.port)).replace("curl", "curl --silent --show-error --fail-with-body", 1)
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True, timeout=30)
    assert isinstance(json.loads(done.stdout), dict)


def test_a_session_is_found_by_its_label_followed_ended_and_explained(grid: Appliance) -> None:
    with Wire(grid.port) as stream, sync_playwright() as playwright:
        stream.socket.sendall(b"GET /api/v1/events?follow=true&count=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        browser = playwright.chromium.connect(f"{grid.endpoint}/?label.case=api&name=mine")
        page = browser.new_page()
        _, found = asked(grid, "/sessions?label.case=api")
        (session,) = found["sessions"]
        assert (session["name"], session["status"], session["labels"]) == ("mine", "active", {"case": "api"})
        assert asked(grid, f"/sessions/{session['id']}", "DELETE") == (202, {"ended": [session["id"]]})
        with pytest.raises(Error, match="session closed by operator"):
            page.title()
        told = ""
        while f'"event": "session.ended", "session": "{session["id"]}"' not in told:
            told += stream.socket.recv(65536).decode()
        assert f'"event": "session.started", "session": "{session["id"]}"' in told
    past = until(lambda: asked(grid, "/history?label.case=api")[1]["sessions"], "the session is in the history")
    assert (past[0]["id"], past[0]["ended_by"]) == (session["id"], "operator")
    assert past[0]["messages_from_client"] > 0
    _, why = asked(grid, f"/sessions/{session['id']}/why")
    assert why["why"][-1] == "An operator ended it: session closed by operator."


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://grid:1"}, 403),
        ({"Origin": "http://grid"}, 202),  # the dashboard's, by the name of the request
        ({}, 202),
    ],
)
def test_another_sites_page_ends_no_session(grid: Appliance, headers: dict[str, str], status: int) -> None:
    assert asked(grid, "/sessions?all=true", "DELETE", **headers)[0] == status


def test_queue_and_events_are_shown_by_the_command_line(grid: Appliance) -> None:
    assert grid.applctl("queue").stdout == "No session waits.\n"
    assert json.loads(grid.applctl("queue", "--json").stdout) == []
    assert "worker.started" in grid.applctl("events", "-n", "1000").stdout
    (event,) = grid.applctl("events", "-n", "1", "--json").stdout.splitlines()
    assert {"id", "event"} <= json.loads(event).keys()
