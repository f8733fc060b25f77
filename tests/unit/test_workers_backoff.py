"""The back-off of a worker that keeps failing."""

from pathlib import Path

import pytest

from workers.backoff import LONGEST_DELAY_S, Failures, delay_s


@pytest.mark.parametrize(
    ("failures", "expected_s"),
    [(0, 0.0), (1, 0.25), (2, 0.5), (3, 1.0), (5, 4.0), (6, 5.0), (20, 5.0), (10**6, 5.0)],
)
def test_the_delay_doubles_up_to_its_bound(failures: int, expected_s: float) -> None:
    assert delay_s(failures) == expected_s


def test_a_worker_that_failed_twenty_times_waits_at_most_five_seconds() -> None:
    assert delay_s(20) == LONGEST_DELAY_S <= 5


def test_failures_are_counted_across_processes_until_one_is_ready(tmp_path: Path) -> None:
    for earlier in range(3):
        failures = Failures(tmp_path)
        assert failures.before == earlier
        failures.count()
    Failures(tmp_path).clear()
    assert Failures(tmp_path).before == 0


def test_an_attempt_that_was_told_to_stop_is_not_counted(tmp_path: Path) -> None:
    Failures(tmp_path).count()
    stopped = Failures(tmp_path)
    stopped.count()
    stopped.forgive()
    assert Failures(tmp_path).before == 1


def test_a_torn_file_counts_as_none(tmp_path: Path) -> None:
    Failures(tmp_path).count()
    (tmp_path / "failures").write_text("")
    assert Failures(tmp_path).before == 0
