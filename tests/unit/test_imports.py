"""The rooms of the house import each other in one direction only; docs/architecture.md draws them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "architecture.md"
PRODUCT = ("appliance", "proxy", "workers")

# A room is a folder, without the folders in it. Each may import from those named here, from the ground floor, and from
# itself. What puts the proxy together is a room of its own.
GROUND = {"appliance"}
STATE = {"appliance.settings", "appliance.grid"}
ROOMS = {
    "appliance": set[str](),
    "appliance.settings": GROUND,
    "appliance.grid": {*GROUND, "appliance.settings"},
    "appliance.machine": {*GROUND, "appliance.settings"},
    "appliance.machine.firewall": {*GROUND, *STATE, "appliance.machine"},
    "appliance.machine.install": {
        *GROUND, "appliance.settings", "appliance.machine", "appliance.machine.firewall"
    },
    "appliance.audit": {*GROUND, *STATE, "appliance.machine"},
    "appliance.pools": {*GROUND, *STATE, "appliance.machine", "appliance.machine.install"},
    "appliance.checks": {
        *GROUND, *STATE, "appliance.machine", "appliance.machine.firewall", "appliance.machine.install",
        "appliance.audit",
    },
    "appliance.cli": {
        *GROUND, *STATE, "appliance.machine", "appliance.machine.firewall", "appliance.machine.install",
        "appliance.checks", "appliance.pools",
    },
    "proxy.metrics": {*GROUND, "appliance.grid"},
    "proxy": {*GROUND, *STATE, "appliance.machine", "appliance.audit", "proxy.metrics"},
    "proxy.door": {*GROUND, *STATE, "proxy"},
    "proxy.mcp": {*GROUND, *STATE, "proxy"},
    "proxy.api": {*GROUND, *STATE, "proxy"},
    "proxy.dashboard": {*GROUND, *STATE, "proxy"},
    "proxy.proxy": {
        *GROUND, *STATE, "appliance.machine", "proxy", "proxy.door", "proxy.mcp", "proxy.api", "proxy.dashboard",
        "proxy.metrics",
    },
    "workers": {*GROUND, *STATE, "appliance.machine"},
    "workers.mcp": {*GROUND, "appliance.settings", "appliance.machine"},
}  # fmt: skip
TOGETHER = {"proxy.proxy", "proxy.__main__"}  # one room


def modules() -> dict[str, Path]:
    """Return all modules of the product, by their names; a folder counts as one."""
    paths = [path for part in PRODUCT for path in (ROOT / part).rglob("*.py")]
    named = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    return {name.removesuffix(".__init__"): path for name, path in named.items()}


def room_of(module: str, path: Path) -> str:
    """Return a module's room."""
    if module in TOGETHER:
        return "proxy.proxy"
    return module if path.name == "__init__.py" else module.rpartition(".")[0]


def imported(path: Path) -> Iterator[str]:
    """Return the names that a file imports, each with its module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor_of(room: str) -> int:
    """Return the lowest floor on which a room is above all rooms that it imports from; the ground floor is 0."""
    return 1 + max(map(floor_of, ROOMS[room]), default=-1)


def drawing() -> str:
    """Return the rooms floor by floor, the highest first, each with the rooms that it may import from."""
    order = sorted(ROOMS, key=lambda room: (-floor_of(room), room))
    width = max(map(len, ROOMS))
    lines = [f"{len(ROOMS)} rooms on {floor_of(order[0]) + 1} floors, {sum(map(len, ROOMS.values()))} arrows", ""]
    for above, room in zip([None, *order], order, strict=False):
        floor = "" if above and floor_of(above) == floor_of(room) else str(floor_of(room))
        below = [name.removeprefix("appliance.") for name in order if name in ROOMS[room] - GROUND]
        lines.append(f"{floor:2} {room:{width}}  {'→ ' * bool(below)}{', '.join(below)}".rstrip())
    return "\n".join(lines)


def drawn(page: str) -> str:
    """Return the text of docs/architecture.md with the drawing as it should be."""
    return re.sub(r"(?<=```text\n)\d+ rooms .*?(?=\n```)", drawing(), page, flags=re.DOTALL)


def test_the_drawing_of_the_rooms_is_up_to_date() -> None:
    page = PAGE.read_text()
    assert drawing() in page, "run `make docs`"


def test_rooms_import_only_from_those_below_them() -> None:
    found, wrong = modules(), []
    for module, path in found.items():
        room = room_of(module, path)
        for name in imported(path):
            target = name if name in found else name.rpartition(".")[0]
            if target not in found:
                continue
            if room_of(target, found[target]) not in {room, *ROOMS[room]}:
                wrong.append(f"{module} imports {target}")
    assert not wrong


def test_every_arrow_of_the_drawing_is_used() -> None:
    found, unused = modules(), {(room, below) for room, those in ROOMS.items() for below in those - GROUND}
    for module, path in found.items():
        for name in imported(path):
            target = name if name in found else name.rpartition(".")[0]
            if target in found:
                unused.discard((room_of(module, path), room_of(target, found[target])))
    assert not unused


def test_only_the_grid_speaks_to_redis() -> None:
    allowed = {f"appliance.grid.{name}" for name in ("store", "client", "mailbox")}
    speakers = {name for name, path in modules().items() if "redis" in {one.split(".")[0] for one in imported(path)}}
    assert speakers <= allowed


def test_no_test_module_imports_another() -> None:
    """What several tests use is in tests/support."""
    wrong = []
    for path in (ROOT / "tests").rglob("*.py"):
        parts = {part for name in imported(path) if name.startswith("tests.") for part in name.split(".")}
        wrong += [f"{path} imports {part}" for part in parts if part.startswith("test_") or part == "conftest"]
    assert not wrong


def test_a_tests_name_has_at_most_80_characters() -> None:
    texts = [path.read_text() for path in (ROOT / "tests").rglob("*.py")]
    names = [name for text in texts for name in re.findall(r"^\s*(?:async )?def (test_\w+)", text, re.MULTILINE)]
    assert names
    assert not [name for name in names if len(name) > 80]


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text()))
