"""The query of a session's URL: which parameters there are, and what their values may be."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from appliance.names import Isolation
from appliance.request_errors import BadRequest

KNOWN = ("browser", "isolation", "keep", "name", "session", "token")
_PLANNED = re.compile(r"timeout|label\..*")  # a later version will offer them
_SECONDS = re.compile(r"\d{1,9}", re.ASCII)
_SHOWN = re.compile(r"[\w.-]{1,15}", re.ASCII)  # a token has 16 characters or more, and must not show in logs
NAME_MAX = 200  # characters


def parse(query: str) -> dict[str, str]:
    """Return the parameters of a query string by their names; raises BadRequest."""
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        shown = f"query parameter {name!r}" if _SHOWN.fullmatch(name) else "query parameter"
        if name not in KNOWN:
            raise _unknown(name, shown)
        if name in found:
            raise BadRequest(f"The {shown} is there twice.", "Name each parameter once.")
        found[name] = value
    for name in ("name", "session"):
        _check_name(found.get(name, ""))
    _check_keeping(found)
    if "browser" in found and not found["browser"]:
        raise BadRequest("The query parameter 'browser' has no value.", "Name a browser, or leave it out.")
    if found.get("isolation", Isolation.CONTEXT) not in set(Isolation):
        raise BadRequest("The query parameter 'isolation' must be context or browser.", "Or leave it out.")
    return found


def _unknown(name: str, shown: str) -> BadRequest:
    known = f"This version of the grid offers {', '.join(KNOWN)}."
    if _PLANNED.fullmatch(name):
        return BadRequest(f"The {shown} is not offered yet.", known)
    return BadRequest(f"Unknown {shown}.", known)


def _check_keeping(found: dict[str, str]) -> None:
    """Refuse a session to reconnect to without a name or a time."""
    if ("session" in found) != ("keep" in found) or found.get("session") == "":
        raise BadRequest(
            "To reconnect to a session, the URL needs both its name and the seconds for which it is kept.",
            "For example ?session=NAME&keep=300.",
        )
    if "keep" in found and not _SECONDS.fullmatch(found["keep"]):
        raise BadRequest("The query parameter 'keep' must be a whole number of seconds.", "For example keep=300.")


def _check_name(name: str) -> None:
    """Refuse a name that would not fit into logs and terminals."""
    if len(name) > NAME_MAX:
        raise BadRequest(f"The session's name has {len(name)} characters.", f"Use {NAME_MAX} at most.")
    if not name.isprintable():
        raise BadRequest("The session's name has characters that cannot be printed.", "Use letters, digits and signs.")
