"""Probes go on, whatever one of them meets."""

from __future__ import annotations

import gevent
import gevent.event
import pytest

from appliance.errors import Blame, DialFailed
from appliance.grid.reach import Reach
from appliance.grid.values import Grant
from appliance.request_errors import StoreUnavailable
from proxy.dial import Connection
from proxy.handshake import Headers
from proxy.probing import Prober


class Grid:
    """A grid of one worker for each appliance, unless Redis is away."""

    is_away = False

    def workers_on(self, appliance: str, _: int) -> list[str]:
        if self.is_away:
            raise StoreUnavailable("Redis does not answer")
        return [f"{appliance}.chromium-00.abc"]


class AwayGrid(Grid):
    """One whose Redis is away."""

    is_away = True


def probe_until_over(reach: Reach, failures: list[Exception], grid: type[Grid] = Grid) -> None:
    """Probe with a dial that fails in these ways, one after another; raises if there is trouble after 30 s."""

    def dial(_: Headers, grant: Grant) -> Connection:
        raise failures.pop(0)

    over = gevent.event.Event()
    prober = Prober(reach, grid(), dial)  # type: ignore[arg-type]
    reach.on_change(prober.wake)
    reach.on_change(lambda: reach.troubles or over.set())
    probes = gevent.spawn(prober.run)
    try:
        assert over.wait(30), reach.troubles
    finally:
        probes.kill()


def test_a_probe_that_fails_by_a_fault_is_followed_by_others(capsys: pytest.CaptureFixture[str]) -> None:
    reach = Reach()
    reach.failed("there", "there.chromium-00.abc", DialFailed("no route", Blame.PATH))
    probe_until_over(reach, [OverflowError("port must be 0-65535"), DialFailed("it ends", Blame.WORKER)])
    assert "port must be 0-65535" in capsys.readouterr().out


def test_a_proxy_serves_again_though_the_appliance_that_it_dialled_is_gone() -> None:
    reach = Reach()
    reach.failed("there", "there.chromium-00.abc", DialFailed("too many open files", Blame.SELF))
    probe_until_over(
        reach,
        [
            DialFailed("too many open files", Blame.SELF),
            DialFailed("no route", Blame.PATH),
            DialFailed("it ends", Blame.WORKER),
        ],
    )


@pytest.mark.parametrize(
    "failure", [DialFailed("it ends", Blame.WORKER), StoreUnavailable("nobody knows where its appliance is")]
)
def test_a_proxy_finds_that_it_can_dial_again_also_while_redis_is_away(failure: Exception) -> None:
    reach = Reach()
    reach.failed("there", "there.chromium-00.abc", DialFailed("too many open files", Blame.SELF))
    probe_until_over(reach, [failure], AwayGrid)
