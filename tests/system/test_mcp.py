"""Agents: an MCP client over streamable HTTP has a session of a real grid."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from appliance.run_dir import RunDir
from proxy.mcp.agents import WHOLE_WITHIN_S
from tests.support.agent import Agent
from tests.support.appliance import Appliance, StartGrid
from tests.support.waiting import until

TOKEN = "agents-0123456789abcdef"
BEARER = f"Bearer {TOKEN}"
IDLE_S = 8  # a busy machine starts a process within that


@pytest.fixture(scope="module")
def guarded() -> Iterator[Appliance]:
    """Return an appliance with one slot, which wants a token."""
    settings = {"MAX_CONCURRENT_SESSIONS": 1, "QUEUE_TIMEOUT": 1, "QUEUE_MAX_LENGTH": 1, "MAX_LIFETIME_SESSIONS": 0}
    with Appliance(APPLIANCE_TOKEN=TOKEN, **settings) as grid:
        yield grid


@pytest.fixture
def agent(guarded: Appliance) -> Iterator[Agent]:
    """Return an agent that has begun."""
    agent = Agent(guarded.port, "?name=shopper", Authorization=BEARER).begin()
    yield agent
    agent.end()
    until(lambda: not listed(guarded), "the slot is free")


def listed(grid: Appliance) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(grid.applctl("sessions", "list", "--json").stdout)
    return found


def agents_processes(grid: Appliance) -> list[psutil.Process]:
    """Return the processes that drive agents' browsers."""
    return grid.process("mcp").children()


def last_end(grid: Appliance) -> str:
    return str([event["reason"] for event in grid.state.events() if event["event"] == "session.ended"][-1])


def test_an_agent_sees_a_page_as_text_and_as_image(agent: Agent, guarded: Appliance, site: str) -> None:
    assert "A real page" in agent.said("browser_navigate", url=site)
    assert "### Snapshot" in agent.said("browser_snapshot")
    (image,) = [part for part in agent.call("browser_take_screenshot") if part["type"] == "image"]
    assert image["mimeType"] == "image/png"
    assert image["data"].startswith("iVBORw0KGgo")  # the signature of PNG
    (session,) = listed(guarded)
    assert (session["token"], session["name"], session["client"]) == ("appliance", "shopper", "127.0.0.1")
    assert guarded.audit() == []


def test_an_answer_to_an_action_shows_the_page_as_it_is_then(agent: Agent) -> None:
    page = "data:text/html,<button onclick='this.textContent=`done`'>do it</button>"
    found = agent.said("browser_navigate", url=page)
    ref = found.partition('button "do it" [ref=')[2].partition("]")[0]
    assert 'button "done"' in agent.said("browser_click", target=ref)


def test_an_agent_that_only_looks_at_the_tools_takes_no_slot(agent: Agent, guarded: Appliance) -> None:
    assert "browser_navigate" in {tool["name"] for tool in agent.ask("tools/list").message["result"]["tools"]}
    assert agent.ask("ping").message["result"] == {}
    assert not listed(guarded)
    assert not agents_processes(guarded)


def test_the_token_may_stand_in_the_url(guarded: Appliance) -> None:
    agent = Agent(guarded.port, f"?token={TOKEN}&isolation=browser&label.build=4711").begin()
    assert "[]" in agent.said("browser_tabs", action="list")
    (session,) = listed(guarded)
    assert (session["isolation"], session["labels"]) == ("browser", {"build": "4711"})
    agent.end()
    until(lambda: not listed(guarded), "the slot is free")


def test_the_end_of_an_agent_frees_its_slot(guarded: Appliance) -> None:
    agent = Agent(guarded.port, Authorization=BEARER).begin()
    agent.call("browser_tabs", action="new")
    assert agent.end().status == 204
    until(lambda: not listed(guarded), "the slot is free")
    until(lambda: not agents_processes(guarded), "its process has ended")
    assert last_end(guarded) == "closed by its agent"
    assert agent.ask("ping").status == 404


def test_an_agent_that_closes_its_browser_frees_its_slot_and_may_open_another(agent: Agent, guarded: Appliance) -> None:
    agent.call("browser_navigate", url="data:text/html,first")
    assert "Error" not in agent.said("browser_close")
    until(lambda: not listed(guarded), "the slot is free")
    until(lambda: not agents_processes(guarded), "its process has ended")
    assert last_end(guarded) in ("closed", "closed by its agent")
    assert "about:blank" in agent.said("browser_tabs", action="list")


def test_a_call_that_takes_long_is_answered_as_a_stream(agent: Agent) -> None:
    agent.call("browser_tabs", action="list")
    reply = agent.ask("tools/call", name="browser_wait_for", arguments={"time": WHOLE_WITHIN_S + 1})
    assert reply.headers["content-type"] == "text/event-stream"
    assert "Waited for" in reply.message["result"]["content"][0]["text"]


def test_an_agent_is_told_that_an_operator_ended_its_session(agent: Agent, guarded: Appliance) -> None:
    agent.call("browser_navigate", url="data:text/html,first")
    guarded.applctl("sessions", "kill", "--all")
    until(lambda: not agents_processes(guarded), "its process has ended")
    assert agent.said("browser_snapshot") == (
        "### Error\nYour browser has gone: session closed by operator. The next call opens a new one."
    )
    assert "about:blank" in agent.said("browser_snapshot")


def test_a_call_that_is_under_way_is_told_why_the_browser_has_gone(agent: Agent, guarded: Appliance) -> None:
    agent.call("browser_navigate", url="data:text/html,first")
    said: list[str] = []
    call = threading.Thread(target=lambda: said.append(agent.said("browser_wait_for", time=30)))
    call.start()
    (process,) = agents_processes(guarded)
    until(lambda: guarded.applctl("sessions", "kill", "--all"), "the session is ended")
    call.join(30)
    assert said == ["### Error\nYour browser has gone: session closed by operator. The next call opens a new one."]
    until(lambda: not process.is_running(), "its process has ended")


def test_an_agent_whose_process_is_killed_is_told_so_and_leaves_no_slot(agent: Agent, guarded: Appliance) -> None:
    agent.call("browser_navigate", url="data:text/html,first")
    (process,) = agents_processes(guarded)
    process.kill()
    until(lambda: not listed(guarded), "the slot is free")
    assert "the process that drove it ended" in agent.said("browser_snapshot")
    assert "about:blank" in agent.said("browser_snapshot")


def test_an_agent_whose_process_hangs_leaves_no_slot_when_it_ends(guarded: Appliance) -> None:
    agent = Agent(guarded.port, Authorization=BEARER).begin()
    agent.call("browser_tabs", action="list")
    (process,) = agents_processes(guarded)
    process.send_signal(signal.SIGSTOP)
    agent.end()
    until(lambda: not listed(guarded), "the slot is free")
    until(lambda: not process.is_running(), "it was killed")


def test_an_agent_reads_that_no_slot_came_free(agent: Agent, guarded: Appliance) -> None:
    agent.call("browser_tabs", action="list")
    second = Agent(guarded.port, Authorization=BEARER).begin()
    said = second.said("browser_tabs", action="list")
    assert said.startswith("### Error\nNo chromium slot came free within 1 s")
    until(lambda: len(agents_processes(guarded)) == 1, "its process has ended")
    agent.call("browser_close")
    assert "about:blank" in second.said("browser_tabs", action="list"), "it may try again"
    second.end()


def test_an_agent_that_makes_no_call_loses_its_browser_and_is_told_so(start_grid: StartGrid) -> None:
    grid = start_grid(MCP_IDLE_TIMEOUT=IDLE_S)
    agent = Agent(grid.port).begin()
    assert "about:blank" in agent.said("browser_tabs", action="list")
    until(lambda: not listed(grid), "the slot is free")
    assert last_end(grid) == f"no call came for {IDLE_S} s"
    assert f"Your browser has gone: no call came for {IDLE_S} s." in agent.said("browser_tabs", action="list")
    assert "about:blank" in agent.said("browser_tabs", action="list")
    assert "gone" in agent.said("browser_wait_for", time=30), "a call that takes longer counts as none"


def test_no_more_browsers_are_opened_for_agents_than_allowed(start_grid: StartGrid) -> None:
    grid = start_grid(MCP_MAX_BROWSERS=1)
    first, second = (Agent(grid.port).begin() for _ in range(2))
    first.call("browser_tabs", action="list")
    assert "Agents already have 1 browsers at this appliance" in second.said("browser_tabs", action="list")
    first.end()
    until(lambda: not agents_processes(grid), "the first has ended")
    assert "about:blank" in second.said("browser_tabs", action="list")


def test_agents_are_refused_in_words_while_their_process_does_not_answer(guarded: Appliance, agent: Agent) -> None:
    socket = RunDir(guarded.run_dir).mcp_socket
    aside = socket.rename(socket.with_suffix(".aside"))
    reply = agent.ask("tools/call", name="browser_tabs", arguments={"action": "list"})
    assert reply.status == 503
    assert reply.error.startswith("The process that serves agents does not answer: No such file or directory.")
    aside.rename(socket)
    assert "about:blank" in agent.said("browser_tabs", action="list")


def test_a_killed_listener_ends_the_browsers_of_agents_and_comes_back(start_grid: StartGrid) -> None:
    grid = start_grid()
    agent = Agent(grid.port).begin()
    agent.call("browser_tabs", action="list")
    grid.process("mcp").kill()
    until(lambda: not listed(grid), "the slot is free")
    assert "Your browser has gone" in agent.said("browser_tabs", action="list")
    until(lambda: "about:blank" in str(agent.ask("tools/call", name="browser_tabs", arguments={"action": "list"}).body),
          "supervisord has started it again")  # fmt: skip
    assert grid.audit() == []


def test_an_appliance_can_do_without_agents(start_grid: StartGrid) -> None:
    grid = start_grid(MCP="false")
    assert "does not serve agents" in Agent(grid.port).ask("initialize").error
    with pytest.raises(KeyError):
        grid.process("mcp")
