"""What a proxy announces of its appliance, for tests."""

from __future__ import annotations

from typing import Any

from appliance.models import Announcement, Browser


def announcement(appliance: str, **changes: Any) -> Announcement:
    """Give an announcement that differs from the usual one in what is named."""
    fields: dict[str, Any] = {
        "appliance": appliance,
        "run": f"first of {appliance}",
        "drained": False,
        "turn": 0,
        "stopping": False,
        "proxy": f"{appliance}.abcdef",
        "endpoint": f"ws://{appliance}:8080",
        "address": appliance,
        "version": "1.65.1",
        "pools": {Browser.CHROMIUM: 1},
        "relayed": 0,
        "admits": False,
        "settle_ms": 0,
        "ttl_ms": 60_000,
    }
    return Announcement(**(fields | changes))
