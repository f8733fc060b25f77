"""The parts import each other in one direction only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

TOP = ("proxy", "workers", "appliance.cli")
STATE = ("appliance.registry", "appliance.store")

# What a part may not import. Read from top to bottom, imports only go down.
FORBIDDEN = {
    "proxy": ("workers", "appliance.cli"),
    "workers": ("proxy", "appliance.cli"),
    "appliance/cli": ("proxy", "workers"),
    "appliance/audit": TOP,
    "appliance/guard": (*TOP, *STATE),
    "appliance/registry": TOP,
    "appliance/store.py": (*TOP, "appliance.registry"),
    "appliance/config.py": (*TOP, *STATE),
    "appliance/settings": (*TOP, *STATE, "appliance.config"),
    "appliance/relations.py": (*TOP, *STATE, "appliance.config"),
    "appliance/addresses.py": (*TOP, *STATE, "appliance.config"),
    "appliance/memory.py": (*TOP, *STATE, "appliance.config"),
    "appliance/token_file.py": (*TOP, "appliance.registry", "appliance.config"),
    "appliance/files.py": ("proxy", "workers", "appliance."),
    "appliance/tokens.py": ("proxy", "workers", "appliance."),
    "appliance/logs.py": (*TOP, *STATE),
    "appliance/metrics.py": (*TOP, *STATE),
    "appliance/models.py": ("proxy", "workers", "appliance."),
    "appliance/errors.py": ("proxy", "workers", "appliance."),
}


def imported(path: Path) -> Iterator[str]:
    """Give the names of the modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_go_in_one_direction() -> None:
    wrong = []
    for part, forbidden in FORBIDDEN.items():
        place = ROOT / part
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            wrong += [f"{path}: {name}" for name in imported(path) if name.startswith(forbidden)]
    assert not wrong


def test_only_store_and_registry_speak_to_redis() -> None:
    allowed = {ROOT / "appliance" / name for name in ("store.py", "redis_client.py", "registry/mailbox.py")}
    files = [path for part in ("appliance", "proxy", "workers") for path in (ROOT / part).rglob("*.py")]
    assert {path for path in files if "redis" in {name.split(".")[0] for name in imported(path)}} <= allowed
