"""`make upgrade-test`: three appliances change their own driver, one after the other, and no session fails.

Clients of three versions use the grid behind HAProxy all the time: the old version, the new one, and one older than
both. What is done to each appliance is what docs/upgrading.md tells operators. Redis is on a machine of its own.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from appliance.grid.story import Story
from appliance.names import minor_version
from tests.support.appliance import TIMINGS
from tests.support.cluster import Cluster, LoadBalancer, Member
from tests.support.fixtures import CLIENTS
from tests.support.programs import require
from tests.support.versions import OWN_MINOR
from tests.support.waiting import until
from tests.versions.installed import BUILD, driver_of, python_of

OLD, OLDEST = "1.62", "1.60"
MINORS = (OLDEST, OLD, OWN_MINOR)
CLIENT = CLIENTS / "looping_client.py"
REST_S = 0.3  # so that the machine also starts and stops appliances
PATIENCE_S = 180.0
SETTINGS = {
    **TIMINGS,
    "MAX_CONCURRENT_SESSIONS": 3,
    "MAX_LIFETIME_SESSIONS": 20,  # so that workers are recycled meanwhile
    "STARTUP_STAGGER": 0.1,
    "DRAIN_NOTICE": 6,  # HAProxy leaves within 2 s, and later on a busy machine
    "SHUTDOWN_GRACE": 12,
    "QUEUE_TIMEOUT": 60,
    "TRUSTED_PROXIES": "10.232.0.0/16",
}


def main() -> None:
    """Upgrade all three under load; fail if a session fails, a version is not served, or anything leaks."""
    for program, package in {"ip": "iproute2", "haproxy": "haproxy"}.items():
        require(program, package)
    with ExitStack() as to_be_undone:
        folder = Path(to_be_undone.enter_context(tempfile.TemporaryDirectory(prefix="upgrade-")))
        each = [_before(folder / f"{number}.env") for number in (1, 2, 3)]
        cluster = Cluster(to_be_undone, SETTINGS, *each, redis_is_apart=True)
        balancer = LoadBalancer("haproxy", cluster, folder)
        to_be_undone.callback(balancer.stop)
        with clients_of_all(balancer.endpoint) as said:
            for member in cluster.members:
                _upgrade(member, next(one for one in cluster.members if one is not member))
        _judge(said, cluster.members[0].state.history(count=100_000))
        cluster.agrees()


def _before(file: Path) -> dict[str, Any]:
    """Return the settings of an appliance of the old release, which serves the other two versions by further pools."""
    file.write_text(f"POOLS=chromium@{OLDEST}:1,chromium@{OWN_MINOR}:1\n")
    driver, folder = driver_of(OLD), BUILD / "upgraded-drivers"
    for minor in (OLDEST, OWN_MINOR):
        driver_of(minor, folder, PLAYWRIGHT_DRIVER=driver)
    driver_of(OLD, folder)  # now, as the appliances reach no package index
    return {"APPLIANCE_ENV": file, "DRIVERS_DIR": folder, "PLAYWRIGHT_DRIVER": driver}


@contextmanager
def clients_of_all(endpoint: str) -> Iterator[dict[str, Any]]:
    """Let clients of all versions have sessions; what they say is there afterwards."""
    said: dict[str, Any] = {}
    with ExitStack() as running:
        clients = {}
        for minor, isolation in (*((minor, "context") for minor in MINORS), (OLD, "browser")):
            command = [python_of(minor), str(CLIENT), f"{endpoint}/?isolation={isolation}", str(REST_S)]
            client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            clients[f"{minor} {isolation}"] = running.enter_context(client)
        assert all(client.stdout and client.stdout.readline() == "serving\n" for client in clients.values())
        yield said
        for name, client in clients.items():
            said[name] = json.loads(client.communicate(timeout=PATIENCE_S)[0])


def _upgrade(member: Member, other: Member) -> None:
    """Take one appliance out of service, change its driver, and put it back, as docs/upgrading.md says."""
    other.applctl("appliance", "drain", member.name, "--wait")
    member.down()
    _await_sessions(other, "while an appliance is away")
    del member.env["PLAYWRIGHT_DRIVER"]  # which a new release's is in place of
    member.applctl("config", "set", f"POOLS=chromium@{OLDEST}:1")  # the new version is the appliance's own now
    _start(member)
    member.applctl("pools", "add", f"chromium@{OLD}")
    until(lambda: _versions(member) == list(MINORS), f"{member.name} serves all versions", PATIENCE_S)
    _await_sessions(other, "on the upgraded appliance", member)
    print(f"{member.name} is upgraded: Playwright {', '.join(_versions(member))}", flush=True)


def _start(member: Member) -> None:
    """Start an appliance: `up` waits for a minute, and may be run again."""
    command = ("up", "--no-setup", "--no-demo")
    until(lambda: member.applctl(*command, check=False).returncode == 0, f"{member.name} starts", PATIENCE_S)


def _versions(member: Member) -> list[str]:
    workers = [worker for worker in member.state.workers() if worker.appliance == member.name]
    return sorted({minor_version(worker.version) for worker in workers if worker.status == "available"})


def _await_sessions(member: Member, when: str, on: Member | None = None) -> None:
    """Wait until clients of each version have begun and ended sessions, on one appliance's workers if it is named."""
    since_ms = member.state.now_ms()

    def missing() -> set[str]:
        ended = _since(member.state.history(count=1000), since_ms)
        return set(MINORS) - {story.version for story in ended if on is None or story.appliance == on.name}

    until(lambda: not missing(), f"sessions of {', '.join(MINORS)} {when}", PATIENCE_S, every_s=0.5)


def _since(stories: Iterable[Story], since_ms: int) -> Iterator[Story]:
    return (story for story in stories if story.granted_ms and story.granted_ms > since_ms)


def _judge(said: dict[str, Any], history: list[Story]) -> None:
    """See that each session that was granted was served to its end, which its client made."""
    failed = {name: one["errors"] for name, one in said.items() if one["errors"]}
    assert not failed, failed
    ends = Counter((story.ended_by, story.end_reason) for story in history if story.ended_by != "client")
    assert not ends, ends
    served = Counter({minor: sum(said[name]["served"] for name in said if name.startswith(minor)) for minor in MINORS})
    assert served == Counter(story.version for story in history)
    waited_ms = max(story.waited_ms or 0 for story in history)
    print(f"{served.total()} sessions of {len(served)} versions, none failed; the longest wait was {waited_ms} ms")


if __name__ == "__main__":
    main()
