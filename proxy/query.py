"""The query of a session's URL: which parameters there are, and what their values may be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from appliance.names import Isolation
from appliance.request_errors import BadRequest

KNOWN = ("browser", "isolation", "keep", "label.KEY", "name", "session", "timeout", "token")
LABEL = "label."
_LABEL_KEY = re.compile(r"[A-Za-z0-9_.-]{1,40}", re.ASCII)
_SECONDS = re.compile(r"\d{1,9}", re.ASCII)
_SHOWN = re.compile(r"[\w.-]{1,15}", re.ASCII)  # a token has 16 characters or more, and must not show in logs
NAME_MAX = LABEL_MAX = 200  # characters
TIMEOUT_MAX_S = 864_000  # ten days: who asks for more means milliseconds, as other grids do
LABELS_MAX = 10


def parse(query: str) -> dict[str, str]:
    """Return the parameters of a query string by their names; raises BadRequest."""
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        shown = f"query parameter {name!r}" if _SHOWN.fullmatch(name) else "query parameter"
        if name not in KNOWN and not name.startswith(LABEL):
            raise _unknown(shown)
        if name in found:
            raise BadRequest(f"The {shown} is there twice.", "Name each parameter once.")
        found[name] = value
    for name in ("name", "session"):
        _check_name(found.get(name, ""))
    check_labels(labels(found))
    _check_keeping(found)
    _check_timeout(found.get("timeout"))
    if "browser" in found and not found["browser"]:
        raise BadRequest("The query parameter 'browser' has no value.", "Name a browser, or leave it out.")
    if found.get("isolation", Isolation.CONTEXT) not in set(Isolation):
        raise BadRequest("The query parameter 'isolation' must be context or browser.", "Or leave it out.")
    return found


def labels(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the labels among a query's parameters: `label.build=4711` is the label "build"."""
    return {name.removeprefix(LABEL): value for name, value in parameters.items() if name.startswith(LABEL)}


def _unknown(shown: str) -> BadRequest:
    return BadRequest(f"Unknown {shown}.", f"This version of the grid offers {', '.join(KNOWN)}.")


def _check_keeping(found: dict[str, str]) -> None:
    """Refuse a session to reconnect to without a name or a time."""
    if ("session" in found) != ("keep" in found) or found.get("session") == "":
        raise BadRequest(
            "To reconnect to a session, the URL needs both its name and the seconds for which it is kept.",
            "For example ?session=NAME&keep=300.",
        )
    if "keep" in found and not _SECONDS.fullmatch(found["keep"]):
        raise BadRequest("The query parameter 'keep' must be a whole number of seconds.", "For example keep=300.")


def _check_timeout(value: str | None) -> None:
    """Refuse what is no length of a session."""
    if value is not None and not (_SECONDS.fullmatch(value) and 0 < int(value) <= TIMEOUT_MAX_S):
        raise BadRequest(
            f"The query parameter 'timeout' must be a whole number of seconds, from 1 to {TIMEOUT_MAX_S}.",
            "The session ends after that time, for example timeout=600. How long a client waits for a slot, it sets "
            "itself: in Playwright by the timeout of connect().",
        )


def _check_name(name: str) -> None:
    """Refuse a name that would not fit into logs and terminals."""
    if len(name) > NAME_MAX:
        raise BadRequest(f"The session's name has {len(name)} characters.", f"Use {NAME_MAX} at most.")
    if not name.isprintable():
        raise BadRequest("The session's name has characters that cannot be printed.", "Use letters, digits and signs.")


def check_labels(found: Mapping[str, str]) -> None:
    """Refuse labels that no session can have; raises BadRequest."""
    if len(found) > LABELS_MAX:
        raise BadRequest(f"The session has {len(found)} labels.", f"Use {LABELS_MAX} at most.")
    for key, value in found.items():
        if not _LABEL_KEY.fullmatch(key):
            raise BadRequest(
                "A label's key must have 1 to 40 letters, digits, dots, underscores or hyphens.",
                "For example label.build=4711.",
            )
        if len(value) > LABEL_MAX:
            raise BadRequest(f"The label {key} has {len(value)} characters.", f"Use {LABEL_MAX} at most.")
        if not value.isprintable():
            raise BadRequest(
                f"The label {key} has characters that cannot be printed.", "Use letters, digits and signs."
            )
