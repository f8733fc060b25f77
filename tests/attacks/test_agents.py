"""What an agent, or a page that pretends to be one, is refused at /mcp."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.agent import Agent
from tests.support.appliance import Appliance
from tests.support.looks import environment_of
from tests.support.waiting import until

TOKEN = "agents-0123456789abcdef"
PASSWORD = "of-the-agents-test"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Appliance]:
    with Appliance(MAX_LIFETIME_SESSIONS=0, APPLIANCE_TOKEN=TOKEN, REDIS_PASSWORD=PASSWORD) as grid:
        yield grid


@pytest.fixture(scope="module")
def agent(guarded: Appliance) -> Iterator[Agent]:
    """Return an agent with a browser."""
    agent = Agent(guarded.port, Authorization=f"Bearer {TOKEN}").begin()
    agent.call("browser_navigate", url="data:text/html,<title>its own</title>")
    yield agent
    agent.end()
    until(lambda: not guarded.state.sessions(), "the slot is free")


def process_of(guarded: Appliance) -> psutil.Process:
    """Return the process that drives the agent's browser."""
    (process,) = guarded.process("mcp").children()
    return process


def test_nobody_is_served_without_a_token(agent: Agent, guarded: Appliance) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong-wrong-wrong-wrong"}):
        stranger = Agent(guarded.port, **headers)
        assert stranger.ask("initialize").status == 401
        stranger.id = agent.id
        for reply in (stranger.ask("tools/list"), stranger.end()):
            assert reply.status == 401


def test_another_token_does_not_get_an_agents_browser_by_its_id(agent: Agent, guarded: Appliance) -> None:
    token = guarded.applctl("token", "create", "other", "--json").stdout
    other = Agent(guarded.port, Authorization=f"Bearer {json.loads(token)['token']}")
    other.id = agent.id
    call = other.ask("tools/call", name="browser_snapshot", arguments={})
    unknown = Agent(guarded.port, Authorization=f"Bearer {TOKEN}")
    unknown.id = "a" * 43
    assert (call.status, other.end().status, unknown.ask("ping").status) == (404, 404, 404)
    assert call.error == unknown.ask("ping").error, "it does not even learn that there is one"
    assert "its own" in agent.said("browser_snapshot")


def test_a_revoked_token_ends_an_agents_calls(guarded: Appliance) -> None:
    token = json.loads(guarded.applctl("token", "create", "leaver", "--json").stdout)["token"]
    leaver = Agent(guarded.port, Authorization=f"Bearer {token}").begin()
    leaver.call("browser_tabs", action="list")
    guarded.applctl("token", "revoke", "leaver")
    until(lambda: leaver.ask("ping").status == 401, "it is refused")
    assert leaver.ask("tools/call", name="browser_snapshot", arguments={}).status == 401
    guarded.applctl("sessions", "kill", next(s.id for s in guarded.state.sessions() if s.token == "leaver"))


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:8080"])
def test_a_web_page_is_refused(agent: Agent, origin: str) -> None:
    headers = {"Origin": origin}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    assert [agent.send(message, method, headers).status for method in ("POST", "DELETE")] == [403, 403]


def test_a_rebound_name_is_refused_where_no_token_is_needed(grid: Appliance) -> None:
    reply = Agent(grid.port, Host="rebound.evil.example").ask("initialize")
    assert reply.status == 403
    assert "ALLOWED_HOSTS" in reply.error


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_a_form_can_send_is_refused(agent: Agent, kind: str) -> None:
    assert agent.send({"jsonrpc": "2.0", "id": 1, "method": "ping"}, headers={"Content-Type": kind}).status == 400


BEYOND = ("run_code_unsafe", "run_code", "pdf_save", "get_config", "storage_state", "start_tracing", "webmcp_call")


@pytest.mark.parametrize("tool", [*(f"browser_{name}" for name in BEYOND), "__proto__", "constructor"])
def test_tools_beyond_the_page_are_not_offered(agent: Agent, tool: str) -> None:
    message = agent.ask("tools/call", name=tool, arguments={"code": "async () => process.env", "filename": "a"}).message
    assert f"Agents have no tool {tool!r}" in message["error"]["message"]


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("browser_snapshot", {"filename": "{}/a"}),
        ("browser_take_screenshot", {"filename": "{}/a.png"}),
        ("browser_console_messages", {"filename": "{}/a"}),
        ("browser_evaluate", {"function": "() => 1", "filename": "{}/a"}),
        ("browser_file_upload", {"paths": ["/etc/passwd"]}),
        ("browser_drop", {"target": "body", "paths": ["/etc/passwd"]}),
        ("browser_snapshot", {"_meta": {"cwd": "/"}}),
        ("browser_snapshot", {"__proto__": {"filename": "{}/a"}}),
    ],
)
def test_no_tool_reads_or_writes_files_of_the_machine(
    agent: Agent, tmp_path: Path, tool: str, arguments: dict[str, object]
) -> None:
    text = json.dumps(arguments).replace("{}", str(tmp_path))
    said = agent.said(tool, **json.loads(text))
    assert said.startswith("### Error") or "__proto__" in arguments
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["file:///etc/passwd", "view-source:file:///etc/passwd", "FILE:///etc/passwd"])
def test_no_tool_opens_a_file_of_the_machine(agent: Agent, url: str) -> None:
    assert "root:" not in agent.said("browser_navigate", url=url)
    assert "root:" not in agent.said("browser_snapshot")


def test_an_agents_process_knows_no_secret_and_has_no_network(agent: Agent, guarded: Appliance) -> None:
    process = process_of(guarded)
    for one in (process, guarded.process("mcp")):
        known = environment_of(one)
        assert set(known) <= {"HOME", "TMPDIR", "LANG", "RUN_DIR", "NODE_COMPILE_CACHE", "REDIS_PROCESSES", "LC_CTYPE"}
        assert PASSWORD not in f"{known} {one.cmdline()}"
        assert TOKEN not in f"{known} {one.cmdline()}"
        interfaces = [line.split(":")[0].strip() for line in Path(f"/proc/{one.pid}/net/dev").read_text().splitlines()]
        assert interfaces[2:] == ["lo"]
    assert process.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)


def test_a_body_that_is_too_long_is_refused_before_it_is_read(agent: Agent) -> None:
    reply = agent.send(b" " * (1024 * 1024 + 1))
    assert reply.status == 413
    assert "1024 KiB" in reply.error
