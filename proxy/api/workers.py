"""Workers: all of the grid, and their drain."""

from __future__ import annotations

from flask import Response

from appliance.grid.records import WorkerInfo
from appliance.request_errors import NotFound
from proxy.api import models
from proxy.api.asked import PREFIX, answer, answer_list, blueprint, grid, require_admin
from proxy.api.queries import Strict, WorkerPath

REASON = "drained by operator"

api = blueprint("workers")


@api.get("/workers", responses={200: models.Workers})
def list_workers(query: Strict) -> Response:
    """List the workers of all appliances."""
    require_admin()
    return answer_list("workers", (worker.as_dict() for worker in grid().workers()))


@api.get("/workers/<worker_id>", responses={200: models.Worker})
def show_worker(path: WorkerPath, query: Strict) -> Response:
    """Show a worker."""
    require_admin()
    return answer(_find(path.worker_id).as_dict())


@api.post("/workers/<worker_id>/drain", responses={202: models.Draining})
def drain_worker(path: WorkerPath, query: Strict) -> Response:
    """Let a worker finish its sessions and restart; it gets no new ones."""
    require_admin()
    left = grid().drain_worker(_find(path.worker_id).id, REASON)
    return answer({"draining": path.worker_id, "sessions": left or 0}, 202)


def _find(worker_id: str) -> WorkerInfo:
    found = grid().worker(worker_id)
    if found is None:
        raise NotFound(f"There is no worker {worker_id[:100]}.", f"{PREFIX}/workers lists all.")
    return found
