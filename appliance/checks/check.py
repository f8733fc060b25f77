"""What one check found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found. `remedy` says how to fix it; "" if all is well."""

    name: str
    status: Status
    finding: str
    remedy: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        return asdict(self)


def ok(name: str, finding: str) -> Check:
    """All is well."""
    return Check(name, "ok", finding)


def warning(name: str, finding: str, remedy: str) -> Check:
    """It works, but not as well as it should, or something is left to be done."""
    return Check(name, "warning", finding, remedy)


def failed(name: str, finding: str, remedy: str) -> Check:
    """It does not work."""
    return Check(name, "failed", finding, remedy)
