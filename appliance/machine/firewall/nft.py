"""The firewall's rules in the kernel, by nftables' program `nft`; only root may ask it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from appliance.errors import FirewallError
from appliance.machine.firewall.ruleset import TABLE, mark_of, outline_of, removal

_TIMEOUT_S = 30


def find_nft() -> Path | None:
    """Return nftables' program; None if it is not installed."""
    found = shutil.which("nft") or shutil.which("nft", path="/usr/sbin:/sbin")
    return Path(found) if found else None


def apply(text: str) -> None:
    """Load rules in place of the loaded ones; raises FirewallError."""
    _nft("-f", "-", said=text)


def remove() -> None:
    """Remove the rules, if there are any; raises FirewallError."""
    _nft("-f", "-", said=removal())


def is_loaded(text: str) -> bool | None:
    """Return whether exactly these rules are loaded; None if our table is not there. Raises FirewallError."""
    if f"table {TABLE}\n" not in _nft("list", "tables"):
        return None
    listed = _nft("list", "table", *TABLE.split())
    return mark_of(listed) == mark_of(text) and outline_of(listed) == outline_of(text)


def _nft(*arguments: str, said: str = "") -> str:
    program = find_nft()
    if program is None:
        raise FirewallError(
            "the firewall needs nftables, and there is no program nft",
            "Run `applctl setup`, or as root: apt-get install nftables. GUARD=false goes without the firewall.",
        )
    try:
        done = subprocess.run(
            [program, *arguments], input=said, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise FirewallError(f"nft {' '.join(arguments)}: no answer within {_TIMEOUT_S} s") from None
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]
        hint = "" if os.geteuid() == 0 else "Run it as root."
        raise FirewallError(f"nft {' '.join(arguments)}: {why}", hint)
    return done.stdout
