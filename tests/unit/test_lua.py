"""The Lua library and what is written about it agree: its functions, the fields of its hashes, its messages."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields

from appliance.grid.grid import Grid
from appliance.grid.store import LUA_FOLDER
from appliance.grid.values import WorkerSpec

ROOT = LUA_FOLDER.parents[2]
LUA = "\n".join(path.read_text() for path in sorted(LUA_FOLDER.glob("*.lua")))
KEYS = (LUA_FOLDER / "keys.lua").read_text()
LISTED = {name for row in re.findall(r"^--    (\w+(?: \w+)*)", KEYS, re.M) for name in row.split()}
MESSAGES = set(re.findall(r"[{,] ?(\w+)(?: = \w+)?(?=[,}])", KEYS.partition("-- Messages")[2].partition("local NS")[0]))
OF_ITSELF = {"resubscribed", "type", "data"}  # what a mailbox says by itself, and how redis-py wraps a message


def python_of(*parts: str) -> str:
    return "\n".join(path.read_text() for part in parts for path in (ROOT / part).rglob("*.py"))


def literals(text: str) -> set[str]:
    return set(re.findall(r"'(\w+)'", text))


def test_each_function_of_the_library_has_a_method_of_its_name() -> None:
    functions = re.findall(r"^register\('(\w+)'", LUA, re.M)
    methods = {name for name, _ in inspect.getmembers(Grid, inspect.isfunction)}
    assert len(functions) > 20
    assert not [name for name in functions if name not in methods]


def test_each_field_that_lua_reads_or_writes_is_listed_in_keys_lua() -> None:
    calls = re.findall(r"redis\.call\('H(?:GET|MGET|SET|SETNX|DEL|INCRBY|EXISTS)', *(?:key\([^()]*\)|\w+), (.*)\)", LUA)
    singles = {match[1] for call in calls if (match := re.match(r"'(\w+)'", call))}
    several = re.findall(r"'HMGET', (?:key\([^()]*\)|\w+), ([^)]*)\)", LUA)
    pairs = re.findall(r"'HSET', (?:key\([^()]*\)|\w+(?:\.\w+)?), ((?:[^()]|\([^()]*\))*)\)", LUA)
    written = {one for call in pairs for one in re.findall(r"(?:^|, *\n? *)'([a-z_]+)', ", call)}
    tables = re.findall(r"(?:local [A-Z_]+ = |read_fields\([^{\n]*)\{([^}]*)\}", LUA)
    read = {name for text in [*several, *tables] for name in literals(text) if not name.isdigit()}
    used = singles | written | read
    assert {"suspect", "unclaimed", "drain_reason", "away_ms", "request", "previous"} <= used
    assert used - {"chromium", "firefox", "webkit"} <= LISTED


def test_each_field_that_python_reads_is_listed_in_keys_lua() -> None:
    read = set(re.findall(r'fields(?:\.get\(|\[)"(\w+)"', python_of("appliance/grid")))
    assert "heartbeat" in read
    assert read <= LISTED


def test_each_field_of_a_worker_that_registers_is_listed_in_keys_lua() -> None:
    given = {field.name for field in fields(WorkerSpec)} - {"run", "drained", "epoch"}
    assert {"ttl" if name == "ttl_ms" else name for name in given} <= LISTED


def test_each_message_that_lua_sends_or_python_reads_is_listed_in_keys_lua() -> None:
    sent = {
        name for text in re.findall(r"tell\([^{]*\{(.*?)\}", LUA) for name in re.findall(r"\[?'?(\w+)'?\]? = ", text)
    }
    read = set(re.findall(r'message(?:\.get\(|\[)"(\w+)"', python_of("appliance/grid", "proxy", "workers")))
    assert {"granted", "refuted"} <= sent & read
    assert (sent | read) - OF_ITSELF <= MESSAGES
