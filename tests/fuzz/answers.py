"""What a worker answers to the proxy's handshake: a 101, or everything else that a socket can say."""

from __future__ import annotations

from random import Random

from tests.fuzz.requests import flipped
from tests.fuzz.steps import Echo, Pause, ReadHead, ReadToEnd, Reset, Send, Step
from tests.fuzz.streams import after_the_handshake, cuts, hostile

ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
HONEST: tuple[Step, ...] = (ReadHead(), Send(ACCEPTED), Echo())
STATUSES = (b"400 Bad Request", b"404 Not Found", b"418 Teapot", b"428 Precondition Required", b"999 ", b"200 OK")


def open_session(random: Random) -> tuple[Step, ...]:
    """Accept, and then misbehave; the first bytes may come together with the 101."""
    if random.random() < 0.3:
        return HONEST
    if random.random() < 0.3:
        data = ACCEPTED + hostile(random)
        return (ReadHead(), Send(data, cuts(random, data)), *after_the_handshake(random))
    return (ReadHead(), Send(ACCEPTED), *after_the_handshake(random))


def hostile_answer(random: Random, slowest_s: float) -> tuple[Step, ...]:
    """Answer the handshake in a way in which no driver does; `slowest_s` bounds the seconds of silence."""
    kind = random.randrange(10)
    if kind == 0:
        return random.choice(((), (Reset(),), (ReadHead(),), (ReadHead(), Reset())))
    if kind == 1:
        return (ReadHead(), Send(random.randbytes(random.choice((1, 100, 100_000)))), ReadToEnd(0.2))
    if kind == 2:
        return (ReadHead(), Send(ACCEPTED[: random.randrange(len(ACCEPTED))]), *random.choice(((), (Reset(),))))
    if kind == 3:  # more than the proxy reads of an answer, in one header or in many
        many = b"".join(b"X-%d: y\r\n" % count for count in range(9000))
        return (ReadHead(), Send(ACCEPTED[:-2] + random.choice((b"X: " + b"y" * 100_000, many)) + b"\r\n\r\n"))
    if kind == 4:
        body = random.randbytes(random.choice((0, 10, 10_000, 70_000)))
        length = random.choice((len(body), 0, 10**9))
        head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (random.choice(STATUSES), length)
        return (ReadHead(), Send(head + body), *random.choice(((), (Reset(),), (ReadToEnd(0.3),))))
    if kind == 5:
        pieces = (ACCEPTED[place : place + 40] for place in range(0, len(ACCEPTED), 40))
        slowly = tuple(step for piece in pieces for step in (Send(piece), Pause(0.01)))
        return (ReadHead(), *slowly, *after_the_handshake(random))
    if kind == 6 and random.random() < 0.01:
        return (ReadHead(), Pause(slowest_s))
    changed = flipped(random, ACCEPTED)
    return (ReadHead(), Send(changed, cuts(random, changed)), *after_the_handshake(random))
