"""What integration tests share: a grid of two appliances."""

from __future__ import annotations

import pytest

from appliance.grid.appliances import Appliances
from appliance.grid.grid import Registry
from tests.support.announced import announcement, register


@pytest.fixture
def appliances(registry: Registry) -> Appliances:
    """Two appliances: `here` has a worker that serves and a spare, `there` one that serves."""
    for name in ("here", "there"):
        Appliances(registry).announce(announcement(name))
        registry.renew(f"{name}.abcdef", {}, 60_000)
    for worker, appliance in {"A": "here", "B": "here", "C": "there"}.items():
        register(registry, worker, appliance)
    return Appliances(registry)
