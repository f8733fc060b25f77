"""The auditor's counting: a leak is found, and a busy grid is never accused of one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.audit.tally import GRACE_S, Tally, sessions_without_socket, sockets_without_session

LOOK_S, LOOKS = 0.35, 16
SPAN_S = LOOK_S * (LOOKS - 1)
FOR_EVER = 1e9


@dataclass(frozen=True)
class Life:
    """When a session had its slot, and when its socket was there, in seconds."""

    granted: float
    released: float
    dialled: float
    closed: float


STAYS = Life(-1, FOR_EVER, -1, FOR_EVER)
LEAKED_SESSION = Life(-1, FOR_EVER, FOR_EVER, FOR_EVER)
LEAKED_SOCKET = Life(FOR_EVER, FOR_EVER, -1, FOR_EVER)


def tally(lives: Sequence[Life], at_s: float, delay_s: float = 0.01) -> Tally:
    """Look at the sockets, and a moment later at the sessions."""
    return Tally(
        sessions=frozenset(f"s{n}" for n, life in enumerate(lives) if life.granted <= at_s + delay_s < life.released),
        sockets=frozenset(f"k{n}" for n, life in enumerate(lives) if life.dialled <= at_s < life.closed),
    )


def look_at(lives: Sequence[Life]) -> list[Tally]:
    """Return the looks of one whole audit."""
    return [tally(lives, number * LOOK_S) for number in range(LOOKS)]


@given(st.integers(0, 9), st.integers(0, 9))
def test_where_nothing_moves_one_look_counts_exactly(sessions: int, sockets: int) -> None:
    series = [tally([LEAKED_SESSION] * sessions + [LEAKED_SOCKET] * sockets, 0)]
    assert sessions_without_socket(series) == max(0, sessions - sockets)
    assert sockets_without_session(series) == max(0, sockets - sessions)


moments = st.floats(-6, 6)
graces = st.floats(0, GRACE_S - 2 * LOOK_S)


@given(granted=moments, lasts_s=st.floats(0, 8), dialling_s=graces, closing_s=graces, beside=st.integers(0, 3))
def test_however_slowly_a_session_begins_and_ends_it_is_no_leak(
    granted: float, lasts_s: float, dialling_s: float, closing_s: float, beside: int
) -> None:
    dialled = granted + dialling_s
    released = dialled + lasts_s
    series = look_at([STAYS] * beside + [Life(granted, released, dialled, released + closing_s)])
    assert (sessions_without_socket(series), sockets_without_session(series)) == (0, 0)


@given(back=st.floats(-6, SPAN_S - 3 * LOOK_S), away_s=st.floats(0, 8))
def test_a_session_that_redis_forgot_and_took_up_again_is_no_leak(back: float, away_s: float) -> None:
    series = look_at([Life(-99, back - away_s, -99, FOR_EVER)])
    again = [tally | {"s0"} if n * LOOK_S >= back else tally for n, tally in enumerate(t.sessions for t in series)]
    assert sockets_without_session([Tally(now, t.sockets) for now, t in zip(again, series, strict=True)]) == 0


@example(granted=-9, reaped=SPAN_S - 3 * LOOK_S)
@given(granted=moments, reaped=st.floats(-6, SPAN_S - 3 * LOOK_S))
def test_a_session_without_a_socket_that_was_reaped_meanwhile_is_no_leak(granted: float, reaped: float) -> None:
    series = look_at([STAYS, Life(granted, reaped, FOR_EVER, FOR_EVER)])
    assert sessions_without_socket(series) == 0


def busy(seed: int, per_s: float, longest_s: float, leak: Sequence[Life] = ()) -> list[Tally]:
    """Look at a worker of five slots that are taken and given back, by clients some of whom are slow."""
    chance = random.Random(seed)
    lives, taken, at_s = list(leak), list[float](), -10.0
    while at_s < SPAN_S + 1:
        at_s += chance.expovariate(per_s)
        taken = [end for end in taken if end > at_s]
        if len(taken) == 5:
            at_s = min(taken)
            taken.remove(at_s)
        dialled = at_s + (2.0 if chance.random() < 0.002 else chance.expovariate(100))
        ends = dialled + chance.uniform(0.05, longest_s)
        closes = ends + (2.0 if chance.random() < 0.01 else chance.expovariate(50))
        if chance.random() < 0.2:  # the client was killed: the socket is closed first
            ends, closes = ends + chance.expovariate(200), ends
        lives.append(Life(at_s, ends, dialled, closes))
        taken.append(ends)
    return look_at(lives)


# Sessions that come in a second, the longest of them in seconds, and of 100 audits, how many find a leak: the
# quicker sessions come and go, the likelier the first look is one in which a socket that closes hides it.
LOADS = [(0.3, 20.0, 90), (2.0, 20.0, 90), (20.0, 10.0, 80), (2.0, 2.0, 70), (20.0, 1.0, 40)]


@pytest.mark.parametrize(("per_s", "longest_s", "_"), LOADS)
def test_a_busy_grid_without_a_leak_is_never_accused(per_s: float, longest_s: float, _: int) -> None:
    for seed in range(300):
        series = busy(seed, per_s, longest_s)
        assert (sessions_without_socket(series), sockets_without_session(series)) == (0, 0), seed


@pytest.mark.parametrize("leak", [LEAKED_SESSION, LEAKED_SOCKET], ids=["session", "socket"])
@pytest.mark.parametrize(("per_s", "longest_s", "least"), LOADS)
def test_most_audits_find_the_leak_of_a_busy_grid(leak: Life, per_s: float, longest_s: float, least: int) -> None:
    count = sessions_without_socket if leak is LEAKED_SESSION else sockets_without_session
    found = 0
    for seed in range(100):
        series = busy(seed, per_s, longest_s, [leak])
        found += all(count(series[: looks + 1]) for looks in range(LOOKS))  # the auditor goes on as long as that
    assert found >= least
