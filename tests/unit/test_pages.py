"""The pages: what /readyz tells a stranger."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.errors import Blame, DialFailed
from appliance.grid.reach import Reach
from appliance.request_errors import Unauthorized
from proxy.pages import ADMIT, Pages

TROUBLES = (
    ("there", Blame.PATH, "This appliance cannot reach the workers of there", "10.1.2.3 port 8080: timed out"),
    ("here", Blame.SELF, "This appliance cannot reach its workers", "/srv/run/workers/chromium-00.1/sock: EMFILE"),
)


def refuse() -> str:
    raise Unauthorized("This request needs a token.")


def readiness(reach: Reach, admit: Callable[[], str]) -> str:
    """Return why /readyz is refused, of a proxy that finds no worker by what it reaches."""
    proxy: Any = SimpleNamespace(
        presence=SimpleNamespace(reason_to_leave=lambda: None),
        reach=reach,
        grid=SimpleNamespace(is_ready=lambda *_: False, capacity=list, appliances=list),
        sessions=(),
        door=(),
        settings=SimpleNamespace(default_browser_type="chromium", endpoint="ws://127.0.0.1:8080"),
    )
    environ = {"PATH_INFO": "/readyz", "REQUEST_METHOD": "GET", ADMIT: admit}
    statuses: list[str] = []
    (body,) = Pages(proxy)(environ, lambda status, _: statuses.append(status))
    assert statuses[0].startswith("503 ")
    return str(json.loads(body)["error"]["message"])


@pytest.mark.parametrize(("appliance", "blame", "said", "detail"), TROUBLES)
def test_readyz_tells_only_who_is_admitted_what_a_dial_met(
    appliance: str, blame: Blame, said: str, detail: str
) -> None:
    reach = Reach()
    reach.failed(appliance, f"{appliance}.chromium-00.abc", DialFailed(detail, blame))
    assert readiness(reach, lambda: "") == f"{said}: {detail}."
    assert readiness(reach, refuse) == f"{said}."
