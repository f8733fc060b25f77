"""Agents of a proxy, with processes that say what a test wants."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import gevent.socket
import pytest
from gevent.server import StreamServer

from appliance.request_errors import (
    AgentsNotServed,
    BadRequest,
    BodyTooLarge,
    NotAcceptable,
    NotFound,
    RequestError,
    TooManyConnections,
)
from appliance.settings.config import Settings
from proxy import dial
from proxy.mcp import agents as module
from proxy.mcp import process
from proxy.mcp.agents import Agents
from proxy.request import Request, RequestParser
from tests.support.greenlets import kill_greenlets

TOOLS = [{"name": "browser_snapshot"}, {"name": "browser_close"}]
HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
SAID = {"content": [{"type": "text", "text": "a page"}]}

Act = Callable[[socket.socket, dict[str, Any]], None]


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition, and let greenlets run meanwhile."""
    with gevent.Timeout(20, AssertionError(what)):
        while not condition():
            gevent.sleep(0.01)


@pytest.fixture(autouse=True)
def in_greenlets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let sockets wait as they do in a proxy, whose modules are patched."""
    monkeypatch.setattr(dial, "socket", gevent.socket)
    yield
    kill_greenlets()


def frame(number: int, value: object = SAID) -> bytes:
    text = json.dumps(value).encode()
    return b"%d %d\n%b" % (number, len(text), text)


def answer(connection: socket.socket, order: dict[str, Any]) -> None:
    connection.sendall(frame(order["call"]))


class Processes:
    """What listens where processes are started; `act` is what one does with a call."""

    def __init__(self, path: Path, act: Act = answer) -> None:
        """Listen."""
        self.act, self.says_tools = act, True
        self.connections: list[socket.socket] = []
        self.endpoints: list[str] = []
        path.parent.mkdir()
        listener = gevent.socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        self._server = StreamServer(listener, self._serve)
        self._server.start()

    def _serve(self, connection: socket.socket, _: object) -> None:
        self.connections.append(connection)
        with suppress(OSError), connection.makefile("rb") as file:  # it may end itself
            order = json.loads(file.readline())
            self.endpoints.append(order.get("endpoint", ""))
            if "list" in order and self.says_tools:
                connection.sendall(frame(0, TOOLS) + b"closed\n")
            for line in file:
                self.act(connection, json.loads(line))
        self.connections.remove(connection)

    def stop(self) -> None:
        """Stop."""
        self._server.stop()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    started = Processes(tmp_path / "mcp" / "mcp.sock")
    yield started
    started.stop()


@pytest.fixture
def agents(tmp_path: Path) -> Agents:
    settings = Settings(run_dir=tmp_path, mcp_max_browsers=2, mcp_idle_timeout=60)
    return Agents(settings, SimpleNamespace(refusal=lambda: None))  # type: ignore[arg-type]


def request(body: object, method: str = "POST", query: str = "", **headers: str) -> Request:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} /mcp{query} HTTP/1.1", "Host: h", f"Content-Length: {len(text)}"]
    lines += [f"{name}: {value}" for name, value in named.items() if value]
    found = RequestParser().feed("\r\n".join([*lines, "", ""]).encode() + text)
    assert found
    return found


def answered(agents: Agents, asked: Request, token: str = "ci") -> bytes:
    near, far = gevent.socket.socketpair()
    with near, far:
        return b"".join(agents.answer(near, asked, token, "192.0.2.1"))


def begin(agents: Agents, query: str = "", token: str = "ci") -> str:
    """Begin an agent, and return its id."""
    head = answered(agents, request({"jsonrpc": "2.0", "id": 1, "method": "initialize"}, query=query), token).decode()
    return head.partition("Mcp-Session-Id: ")[2].partition("\r\n")[0]


def call(agents: Agents, agent: str, tool: str = "browser_snapshot", number: int = 2, **headers: str) -> bytes:
    message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": tool}}
    return answered(agents, request(message, Mcp_Session_Id=agent, **headers))


def result(said: bytes) -> Any:
    return json.loads(said.partition(b"\r\n\r\n")[2].partition(b"data: ")[2] or said.partition(b"\r\n\r\n")[2])[
        "result"
    ]


def text(said: bytes) -> str:
    return str(result(said)["content"][0]["text"])


def test_a_call_starts_a_process_once_and_has_its_answer(agents: Agents, processes: Processes) -> None:
    agent = begin(agents)
    assert [text(call(agents, agent)) for _ in range(2)] == ["a page", "a page"]
    assert len(processes.connections) == 1


def test_an_agents_session_has_its_name_and_labels_and_never_its_token(agents: Agents, processes: Processes) -> None:
    agent = begin(agents, "?name=shopper&label.build=4711&token=0123456789abcdef0123")
    call(agents, agent)
    assert processes.endpoints[-1].endswith("/?name=shopper&label.build=4711")


def test_an_answer_that_takes_long_comes_as_a_stream(
    agents: Agents, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WHOLE_WITHIN_S", 0.05)
    monkeypatch.setattr(module, "PULSE_S", 0.05)

    def slowly(connection: socket.socket, order: dict[str, Any]) -> None:
        gevent.sleep(0.5)
        answer(connection, order)

    agent = begin(agents)
    assert b"application/json" in call(agents, agent)
    processes.act = slowly
    said = call(agents, agent)
    assert b"text/event-stream" in said
    assert b"\r\n\r\n: still at work\n\n" in said
    assert text(said) == "a page"


def test_an_agent_is_told_once_that_its_process_has_gone(agents: Agents, processes: Processes) -> None:
    agent = begin(agents)
    call(agents, agent)
    processes.connections[0].shutdown(socket.SHUT_RDWR)
    until(lambda: not processes.connections, "it is gone")
    assert text(call(agents, agent)).startswith("### Error\nYour browser has gone: the process that drove it ended")
    assert text(call(agents, agent)) == "a page"


def test_a_call_under_way_is_told_why_the_browser_has_gone(agents: Agents, processes: Processes) -> None:
    agent = begin(agents)
    call(agents, agent)

    def lose(connection: socket.socket, _: dict[str, Any]) -> None:
        agents._agents[agent].browser_ended("session closed by operator")
        connection.shutdown(socket.SHUT_RDWR)

    processes.act = lose
    assert "gone: session closed by operator." in text(call(agents, agent))
    processes.act = answer
    assert text(call(agents, agent)) == "a page", "it is told once"


def test_an_agent_that_closed_its_browser_is_told_nothing(agents: Agents, processes: Processes) -> None:
    agent = begin(agents)
    processes.act = lambda connection, order: connection.sendall(frame(order["call"]) + b"closed\n")
    for _ in range(2):
        assert text(call(agents, agent, "browser_close")) == "a page"
        until(lambda: not processes.connections, "its process has ended")


@pytest.mark.parametrize(
    "said", [b"nonsense\n", b"1\n", b"1 -5\n", b"1 99999999999\n", b"1 2 3\n", b"1 " * 100, b"1 10\nshort"]
)
def test_a_process_that_does_not_speak_as_agreed_is_ended(agents: Agents, processes: Processes, said: bytes) -> None:
    def babble(connection: socket.socket, _: dict[str, Any]) -> None:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)

    agent = begin(agents)
    processes.act = babble
    assert "Your browser has gone" in text(call(agents, agent))
    until(lambda: not processes.connections, "the proxy has hung up")


def test_an_idle_agents_process_is_ended_and_its_entry_stays(tmp_path: Path, processes: Processes) -> None:
    settings = Settings(run_dir=tmp_path, mcp_idle_timeout=0.001)
    agents = Agents(settings, SimpleNamespace(refusal=lambda: None))  # type: ignore[arg-type]
    agent = begin(agents)
    call(agents, agent)
    gevent.sleep(0.01)
    agents.end_idle()
    until(lambda: not processes.connections, "its process has ended")
    assert "gone: no call came for 0.001 s." in text(call(agents, agent))


def test_without_a_limit_no_agent_is_idle(tmp_path: Path, processes: Processes) -> None:
    agents = Agents(Settings(run_dir=tmp_path, mcp_idle_timeout=0), SimpleNamespace(refusal=lambda: None))  # type: ignore[arg-type]
    agent = begin(agents)
    call(agents, agent)
    agents.end_idle()
    assert "gone" not in text(call(agents, agent))


def test_each_agent_belongs_to_its_token(agents: Agents, processes: Processes) -> None:
    agent, ping = begin(agents, token="ci"), {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert result(answered(agents, request(ping, Mcp_Session_Id=agent))) == {}
    for asked in (request(ping, Mcp_Session_Id=agent), request(b"", "DELETE", Mcp_Session_Id=agent)):
        for token in ("other", ""):
            with pytest.raises(NotFound):
                answered(agents, asked, token)
    assert b"204" in answered(agents, request(b"", "DELETE", Mcp_Session_Id=agent))
    with pytest.raises(NotFound):
        answered(agents, request(ping, Mcp_Session_Id=agent))


def test_only_the_process_of_an_agent_has_its_ticket(agents: Agents) -> None:
    agent = agents._agents[begin(agents)]
    assert agents.by_ticket(agent.ticket) is agent
    assert agents.by_ticket(agent.id) is None
    assert agents.by_ticket("") is None


def test_agents_have_no_more_browsers_than_allowed(agents: Agents, processes: Processes) -> None:
    first, _, third = (begin(agents) for _ in range(3))
    for agent in list(agents._agents)[:2]:
        call(agents, agent)
    assert "Agents already have 2 browsers" in text(call(agents, third))
    answered(agents, request(b"", "DELETE", Mcp_Session_Id=first))
    until(lambda: len(processes.connections) == 1, "its process has ended")
    assert text(call(agents, third)) == "a page"


def test_of_each_token_the_last_agents_are_kept(agents: Agents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGENTS_MAX", 2)
    others, own = begin(agents, token="other"), [begin(agents) for _ in range(4)]
    assert list(agents._agents) == [others, *own[2:]]


def test_without_a_process_an_agent_is_refused_in_words(agents: Agents) -> None:
    with pytest.raises(AgentsNotServed, match="does not answer: No such file or directory"):
        call(agents, begin(agents))


def test_an_agent_has_a_bounded_number_of_calls_under_way(agents: Agents, processes: Processes) -> None:
    agent = begin(agents)
    processes.act = lambda *_: None
    pending = [gevent.spawn(call, agents, agent, number=number) for number in range(module.CALLS_MAX)]
    until(lambda: len(agents._agents[agent].calls) == module.CALLS_MAX, "all are under way")
    with pytest.raises(TooManyConnections):
        call(agents, agent, number=99)
    agents.end_all("appliance is shutting down")
    gevent.joinall(pending, timeout=10)
    told = [text(one.value) for one in pending]
    assert any("gone: appliance is shutting down" in one for one in told)
    assert not agents._agents[agent].calls


def test_what_is_cancelled_is_cancelled_in_the_process(agents: Agents, processes: Processes) -> None:
    heard: list[dict[str, Any]] = []
    processes.act = lambda _, order: heard.append(order)
    agent = begin(agents)
    pending = gevent.spawn(call, agents, agent, number=7)
    until(lambda: heard, "the call is heard")
    note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
    assert b"202" in answered(agents, request(note, Mcp_Session_Id=agent))
    until(lambda: len(heard) == 2, "the cancellation is heard")
    assert heard[1] == {"cancel": heard[0]["call"]}
    pending.kill()


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ({"Content-Type": "text/plain"}, BadRequest),
        ({"Content-Type": ""}, BadRequest),
        ({"Accept": "application/json"}, NotAcceptable),
        ({"MCP-Protocol-Version": "1999-01-01"}, BadRequest),
    ],
)
def test_a_client_that_does_not_speak_mcp_is_refused(
    agents: Agents, headers: dict[str, str], refusal: type[RequestError]
) -> None:
    with pytest.raises(refusal):
        answered(agents, request({"jsonrpc": "2.0", "id": 1, "method": "ping"}, **headers))


@pytest.mark.parametrize("query", ["?session=a&keep=30", "?speed=2", "?isolation=none", "?browser=lynx"])
def test_an_agent_that_asks_for_what_it_cannot_have_is_refused(agents: Agents, query: str) -> None:
    with pytest.raises(BadRequest):
        begin(agents, query)


def test_a_body_that_is_too_long_is_refused_before_it_is_read(agents: Agents) -> None:
    head = b"POST /mcp HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 1048577\r\n\r\n"
    asked = RequestParser().feed(head)
    assert asked
    with pytest.raises(BodyTooLarge):
        answered(agents, asked)


def test_a_body_that_does_not_come_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    settings = Settings(run_dir=tmp_path, request_timeout=0.05)
    agents = Agents(settings, SimpleNamespace(refusal=lambda: None))  # type: ignore[arg-type]
    asked = RequestParser().feed(
        b"POST /mcp HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    )
    assert asked
    near, far = gevent.socket.socketpair()
    with near, far, pytest.raises(RequestError) as raised:
        list(agents.answer(near, asked, "ci", ""))
    assert raised.value.status == 408


def test_a_process_that_lists_no_tools_is_not_waited_for_for_ever(
    agents: Agents, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_LIST_TIMEOUT_S", 0.05)
    processes.says_tools = False
    asked = request({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, Mcp_Session_Id=begin(agents))
    with pytest.raises(AgentsNotServed, match="does not say which tools"):
        answered(agents, asked)
