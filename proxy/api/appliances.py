"""Appliances with their drains, pools, and the capacity of the grid."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Response

from appliance.grid.records import ApplianceInfo
from appliance.request_errors import NotFound
from proxy.api import models
from proxy.api.asked import answer, blueprint, grid, require_admin, settings
from proxy.api.queries import AppliancePath, Strict
from proxy.api.workers import REASON

api = blueprint("appliances")


@api.get("/appliances", responses={200: models.Appliances})
def list_appliances(query: Strict) -> Response:
    """List the appliances of the grid."""
    require_admin()
    return answer({"appliances": _appliances()})


@api.get("/appliance", responses={200: models.Appliance})
def show_this_appliance(query: Strict) -> Response:
    """Show the appliance that answers."""
    name = settings().appliance_name
    return answer((grid().appliance(name) or ApplianceInfo(name)).as_dict())


@api.post("/appliances/<name>/drain", responses={202: models.Draining})
def drain_appliance(path: AppliancePath, query: Strict) -> Response:
    """Take an appliance out of service: it gets no new sessions until it is undrained or restarted."""
    require_admin()
    if not grid().drain_appliance(path.name, REASON):
        raise _unknown(path.name)
    state = grid().appliance(path.name)
    return answer({"draining": path.name, "sessions": state.on_workers if state else 0}, 202)


@api.post("/appliances/<name>/undrain", responses={202: models.Undrained})
def undrain_appliance(path: AppliancePath, query: Strict) -> Response:
    """Put a drained appliance back in service."""
    require_admin()
    if not grid().undrain_appliance(path.name):
        raise _unknown(path.name)
    return answer({"serving": path.name}, 202)


@api.get("/pools", responses={200: models.Pools})
def list_pools(query: Strict) -> Response:
    """List the pools with their workers and slots."""
    return answer({"pools": [asdict(pool) for pool in grid().capacity()]})


@api.get("/capacity", responses={200: models.Capacity})
def show_capacity(query: Strict) -> Response:
    """Show the slots of the grid, of its pools, and the appliances."""
    pools = grid().capacity()
    names = ("slots", "active", "free", "waiting")
    total = {name: sum(getattr(pool, name) for pool in pools) for name in names}
    return answer({"grid": total, "pools": [asdict(pool) for pool in pools], "appliances": _appliances()})


def _appliances() -> list[dict[str, Any]]:
    return [one.as_dict() for one in grid().appliances()]


def _unknown(name: str) -> NotFound:
    there = ", ".join(one.name for one in grid().appliances()) or "none"
    return NotFound(f"There is no appliance {name[:100]}.", f"The grid's appliances: {there}.")
