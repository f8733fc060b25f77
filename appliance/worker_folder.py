"""Where a worker's files are: RUN_DIR/workers/<slot>/<hex>/ for the worker "<appliance>.<slot>.<hex>".

A slot's folder is its workers' alone, one after another. In a worker's folder is the socket of its driver, which its
appliance's proxy connects to.
"""

from __future__ import annotations

import re
from pathlib import Path

LONGEST_SOCKET = "/workers/chromium-99/123456/driver.sock"  # below RUN_DIR
MARKER = "APPLIANCE_WORKSPACE"  # the variable that names a worker's folder to its driver, and so to its browser
SESSIONS_PATH = "/session"  # of the URL at which the driver serves its clients: the socket itself is what is closed

_SAFE = re.compile(r"[\w-]+", re.ASCII)


def all_workers(run_dir: Path) -> Path:
    """Return the folder that holds the folders of all slots."""
    return run_dir / "workers"


def folder_of_slot(run_dir: Path, slot: str) -> Path:
    """Return the folder of a slot's workers."""
    return all_workers(run_dir) / slot


def folder_of(run_dir: Path, worker_id: str) -> Path:
    """Return the folder of a worker; raises ValueError for an id that could name a place elsewhere."""
    slot, _, suffix = worker_id.rpartition(".")
    slot = slot.rpartition(".")[2]
    if not (_SAFE.fullmatch(slot) and _SAFE.fullmatch(suffix)):
        raise ValueError(f"{worker_id!r} is not a worker's id")
    return folder_of_slot(run_dir, slot) / suffix


def socket_of(run_dir: Path, worker_id: str) -> Path:
    """Return the socket of a worker's driver; raises ValueError for an id that could name a place elsewhere."""
    return socket_in(folder_of(run_dir, worker_id))


def socket_in(folder: Path) -> Path:
    """Return the socket of the driver whose worker has this folder."""
    return folder / "driver.sock"


def slot_at(socket: Path) -> str:
    """Return the slot of the worker whose driver has this socket."""
    return socket.parent.parent.name
