"""What one check found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from appliance.errors import ApplianceError

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found. `remedy` says how to fix it; "" if all is well.

    If it is `mild`, then before a start a failure counts as a warning, and a warning as nothing.
    """

    name: str
    status: Status
    finding: str
    remedy: str = ""
    mild: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        return {"name": self.name, "status": self.status, "finding": self.finding, "remedy": self.remedy}


def ok(name: str, finding: str) -> Check:
    """All is well."""
    return Check(name, "ok", finding)


def warning(name: str, finding: str, remedy: str, *, mild: bool = False) -> Check:
    """It works, but not as well as it should, or something is left to be done."""
    return Check(name, "warning", finding, remedy, mild)


def failed(name: str, finding: str, remedy: str, *, mild: bool = False) -> Check:
    """It does not work."""
    return Check(name, "failed", finding, remedy, mild)


def tried(name: str, require: Callable[[], object], well: str, remedy: str = "") -> Check:
    """Return whether a call succeeds; `remedy` is for errors without a hint."""
    try:
        require()
    except ApplianceError as error:
        return failed(name, str(error), error.hint or remedy)
    return ok(name, well)
