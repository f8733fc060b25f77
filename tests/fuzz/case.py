"""One case: what the client does, and what the worker does that the proxy dials for it. Made from seed and number."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tests.fuzz import answers, pages, requests, streams
from tests.fuzz.steps import HalfClose, Pause, ReadHead, ReadToEnd, Reset, Send, Step


@dataclass(frozen=True, slots=True)
class Case:
    """Both sides' steps; `kind` says what is tried."""

    number: int
    kind: str
    client: tuple[Step, ...]
    worker: tuple[Step, ...] = answers.HONEST


def make(seed: int, number: int, silence_s: float) -> Case:
    """Make a case; the same arguments always give the same. `silence_s` is how long the few silent ones last."""
    random = Random(f"{seed}/{number}")
    chance = random.random()
    if chance < 0.3:
        return Case(number, "malformed request", _malformed(random, number))
    if chance < 0.45:
        return Case(number, "odd page", _page(random, number))
    if chance < 0.55:
        return Case(number, "cut request", _cut(random, number, silence_s))
    if chance < 0.75:
        return Case(number, "hostile client", _session(random, number))
    if chance < 0.88:
        return Case(number, "hostile worker", _session(random, number), answers.open_session(random))
    return Case(number, "hostile answer", _hopeful(random, number), answers.hostile_answer(random, silence_s))


def _malformed(random: Random, number: int) -> tuple[Step, ...]:
    data = requests.malformed(random, number)
    if random.random() < 0.2:  # pipelined: more requests, or what is none
        data += random.choice((requests.malformed(random, number), requests.joined(requests.valid(number)) * 3))
    return (Send(data, streams.cuts(random, data)), *_leave(random))


def _page(random: Random, number: int) -> tuple[Step, ...]:
    data = pages.page(random, number)
    return (Send(data, streams.cuts(random, data)), ReadHead(2.0), *_leave(random))


def _cut(random: Random, number: int, silence_s: float) -> tuple[Step, ...]:
    """End in mid-request, or as soon as it is sent; a few say nothing more, until the proxy has enough of it."""
    data = requests.joined(requests.valid(number))
    data = data[: random.choice((0, random.randrange(len(data)), len(data)))]
    if random.random() < 0.005:
        return (Send(data), ReadToEnd(silence_s))
    ends = ((), (Reset(),), (HalfClose(), ReadToEnd(0.5)), (Pause(0.02), Reset()), (HalfClose(), Reset()))
    return (Send(data, streams.cuts(random, data)), *random.choice(ends))


def _session(random: Random, number: int) -> tuple[Step, ...]:
    """Ask for a session and misuse it; some do not wait for the answer."""
    request = requests.joined(requests.valid(number))
    patience: tuple[Step, ...] = (ReadHead(),) if random.random() < 0.8 else ()
    return (Send(request, streams.cuts(random, request)), *patience, *streams.after_the_handshake(random))


def _hopeful(random: Random, number: int) -> tuple[Step, ...]:
    """Ask for a session of the browser whose workers misbehave."""
    return (Send(requests.joined(requests.valid(number, b"/?browser=firefox"))), ReadHead(10.0), *_leave(random))


def _leave(random: Random) -> tuple[Step, ...]:
    return random.choice((ending := streams.ending(random), ending, (ReadToEnd(0.3),), (ReadToEnd(0.3), Reset())))
