"""The appliances of a chaos run: for root two on one switch, whose machines can give out; else one on this machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from appliance.grid.grid import Grid
from appliance.grid.store import Store
from tests.chaos.bounded import BoundedMember
from tests.support import site
from tests.support.appliance import Appliance
from tests.support.cluster import Cluster

TOKEN = "operators-0123456789abcdef"
# Few slots for the clients, so that they queue; a small quota, so that recycling goes on beneath.
SETTINGS = {
    "SPARE_WORKERS": 1,
    "MAX_CONCURRENT_SESSIONS": 2,
    "MAX_LIFETIME_SESSIONS": 20,
    "QUEUE_TIMEOUT": 60,
    "LOG_FORMAT": "json",
    "APPLIANCE_TOKEN": TOKEN,
    "ALLOW_ANONYMOUS": "true",  # the load has no token
}


class Rig:
    """One grid; the first of its appliances has the Redis of all."""

    def __init__(self, members: list[Appliance], url: str) -> None:
        """Use the appliances, and the page that their browsers open."""
        self.members, self.url = members, url
        self.state = members[0].state

    @property
    def serving(self) -> int:
        """How many workers serve when all is well."""
        return sum(int(member.env["CHROMIUM_WORKERS"]) for member in self.members)

    @property
    def spare(self) -> int:
        """How many workers stand by when all is well."""
        return sum(int(member.env["SPARE_WORKERS"]) for member in self.members)

    @property
    def endpoints(self) -> dict[str, str]:
        """Where each appliance takes sessions, by its name."""
        return {name_of(member): member.endpoint for member in self.members}

    @property
    def logs(self) -> list[Path]:
        """The folders of the appliances' logs."""
        return [member.run_dir / "log" for member in self.members]

    def own_state(self) -> Grid:
        """Return the state over connections of its own, for another thread."""
        return Grid(Store(self.state.store.url, "grid"))


def name_of(member: Appliance) -> str:
    """Return an appliance's name in the grid."""
    return member.env["APPLIANCE_NAME"]


@contextmanager
def rig(workers: int, problems: Callable[[], Iterable[str]], say: Callable[[str], None]) -> Iterator[Rig]:
    """Run appliances with so many workers each. What they leave behind is told; logs are kept if there are problems."""
    settings = SETTINGS | {"CHROMIUM_WORKERS": workers}
    kept = Path(tempfile.mkdtemp(prefix="chaos-"))
    left: list[str] = []
    with ExitStack() as to_be_undone:
        found = to_be_undone.enter_context(_cluster(settings, left) if os.geteuid() == 0 else _single(settings, left))
        to_be_undone.callback(lambda: _copy_logs(found, kept))
        yield found
    for problem in left:
        say(problem)
    if left or list(problems()):
        say(f"the appliances' logs are kept in {kept}")
    else:
        shutil.rmtree(kept)


@contextmanager
def _cluster(settings: dict[str, Any], left: list[str]) -> Iterator[Rig]:
    with ExitStack() as to_be_undone:
        cluster = Cluster(to_be_undone, settings, {}, {}, kind=BoundedMember)
        with site.serve(cluster.switch.address(1)) as url:
            yield Rig(list(cluster.members), url)
    for member in cluster.members:
        left += member.left


@contextmanager
def _single(settings: dict[str, Any], left: list[str]) -> Iterator[Rig]:
    grid = Appliance(**settings)
    try:
        with site.serve() as url:
            yield Rig([grid], url)
    finally:
        try:
            grid.stop()
        except AssertionError as error:
            left.append(str(error))
            shutil.rmtree(grid.run_dir, ignore_errors=True)


def _copy_logs(found: Rig, kept: Path) -> None:
    for member, folder in zip(found.members, found.logs, strict=True):
        shutil.copytree(folder, kept / name_of(member), ignore=shutil.ignore_patterns("*.sock"))
