"""What a proxy concludes from its dials: whose fault a failure is, and whom to avoid until a probe succeeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import Blame, DialFailed
from appliance.grid.reach import EVERYWHERE, PATIENCE_S, REFUTATIONS, Reach
from appliance.settings.config import Settings
from proxy.proxy import Proxy


class Clock:
    """Monotonic seconds that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reach(clock: Clock) -> Reach:
    return Reach(clock)


def failure(blame: Blame) -> DialFailed:
    return DialFailed("it does not answer", blame)


def test_a_worker_that_fails_is_to_blame_and_its_appliance_is_not_avoided(reach: Reach) -> None:
    assert reach.failed("there", "there.chromium-00.abc", failure(Blame.WORKER)) is Blame.WORKER
    assert reach.avoided == []
    assert reach.refusal() is None


def test_an_appliance_whose_path_fails_is_avoided_until_it_is_reached(reach: Reach) -> None:
    assert reach.failed("there", "there.chromium-00.abc", failure(Blame.PATH)) is Blame.PATH
    assert reach.avoided == ["there/"]
    reach.succeeded("here")
    assert reach.avoided == ["there/"]
    reach.succeeded("there")
    assert reach.avoided == []


def test_an_appliance_that_says_what_is_wrong_with_its_worker_is_reached(reach: Reach) -> None:
    reach.failed("there", "there.chromium-00.abc", failure(Blame.PATH))
    reach.probe_failed("there", failure(Blame.PATH))
    assert reach.avoided == ["there/"]
    reach.probe_failed("there", failure(Blame.WORKER))
    assert reach.avoided == []


def test_a_probe_that_fails_like_the_dials_before_it_does_not_speak_for_the_path(reach: Reach) -> None:
    for _ in range(REFUTATIONS):
        reach.refuted("there")
    assert reach.failed("there", "there.chromium-00.abc", failure(Blame.WORKER)) is Blame.PATH
    reach.probe_failed("there", failure(Blame.WORKER))
    assert reach.avoided == ["there/"]


def test_a_fault_of_the_proxys_own_refuses_every_session_and_avoids_nobody(reach: Reach) -> None:
    assert reach.failed("there", "there.chromium-00.abc", failure(Blame.SELF)) is Blame.SELF
    assert reach.avoided == []
    assert str(reach.refusal()) == "This appliance cannot reach its workers: it does not answer."
    reach.succeeded("there")
    assert reach.refusal() is None


@pytest.mark.parametrize(
    ("blame", "refuses", "avoided"),
    [(Blame.SELF, True, []), (Blame.PATH, False, ["there/"]), (Blame.WORKER, False, [])],
)
def test_a_fault_of_the_proxys_own_is_over_when_a_probe_fails_for_another(
    reach: Reach, blame: Blame, refuses: bool, avoided: list[str]
) -> None:
    reach.failed("there", "there.chromium-00.abc", failure(Blame.SELF))
    reach.probe_failed(EVERYWHERE, failure(blame))
    assert bool(reach.refusal()) is refuses
    assert reach.avoided == avoided


def test_workers_that_vouch_for_themselves_are_believed_rather_than_the_proxy(reach: Reach) -> None:
    for _ in range(REFUTATIONS):
        assert reach.failed("here", "here.chromium-00.abc", failure(Blame.WORKER)) is Blame.WORKER
        reach.refuted("here")
    assert reach.failed("there", "there.chromium-00.abc", failure(Blame.WORKER)) is Blame.WORKER, (
        "nobody spoke for that one"
    )
    assert reach.failed("here", "here.chromium-00.abc", failure(Blame.WORKER)) is Blame.PATH
    assert reach.avoided == ["here/"]


def test_a_dial_that_succeeds_makes_up_for_what_was_refuted(reach: Reach) -> None:
    for _ in range(2 * REFUTATIONS):
        reach.refuted("here")
        reach.succeeded("here")
    assert reach.failed("here", "here.chromium-00.abc", failure(Blame.WORKER)) is Blame.WORKER


def test_sessions_wait_a_moment_for_an_appliance_whose_proxy_may_be_restarting(reach: Reach, clock: Clock) -> None:
    reach.failed("there", "there.chromium-00.abc", failure(Blame.PATH))
    assert reach.refusal_of_the_unreachable() is None
    assert reach.refusal_of_the_unreachable(patiently=False), "but the load balancer is told at once"
    clock.now += PATIENCE_S
    said = str(reach.refusal_of_the_unreachable())
    assert said == "This appliance cannot reach the workers of there: it does not answer."


def test_an_appliance_that_is_gone_is_trouble_no_more(reach: Reach) -> None:
    changes: list[int] = []
    reach.on_change(lambda: changes.append(len(reach.troubles)))
    reach.failed("there", "there.chromium-00.abc", failure(Blame.PATH))
    reach.failed("there", "there.chromium-00.abc", failure(Blame.PATH))
    reach.forget("there")
    assert changes == [1, 0]


def test_a_proxy_hears_that_a_worker_is_healthy_which_it_suspected(tmp_path: Path) -> None:
    proxy = Proxy(Settings(run_dir=tmp_path, redis_url="unix:///nowhere", appliance_name="here"))
    for _ in range(REFUTATIONS):
        proxy.handle({"refuted": "there.chromium-00.abc", "appliance": "there"})
    assert proxy.services.reach.failed("there", "there.chromium-00.abc", failure(Blame.WORKER)) is Blame.PATH
