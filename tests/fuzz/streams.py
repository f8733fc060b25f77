"""What follows a handshake: frames (RFC 6455, section 5.2), legal, illegal, endless, and cut anywhere."""

from __future__ import annotations

from random import Random

from tests.fuzz.steps import Echo, HalfClose, Pause, ReadToEnd, Reset, Send, Step

SIZES = (0, 1, 125, 126, 127, 1000, 65535, 65536, 200_000)
HUGE = (2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(random: Random, opcode: int, size: int, *, masked: bool, claimed: int | None = None) -> bytes:
    """Build a frame whose header may claim another size than its payload has."""
    claimed = size if claimed is None else claimed
    head = bytes([random.choice((0x80, 0x00, 0x80 | random.randrange(0, 0x80, 0x10))) | opcode])
    mask = 0x80 * masked
    if claimed < 126 and random.random() < 0.9:
        head += bytes([mask | claimed])
    elif claimed < 2**16 and random.random() < 0.9:
        head += bytes([mask | 126]) + claimed.to_bytes(2, "big")
    else:
        head += bytes([mask | 127]) + claimed.to_bytes(8, "big")
    return head + (random.randbytes(4) if masked else b"") + random.randbytes(size)


def hostile(random: Random) -> bytes:
    """Return some frames, of which each may be illegal in a way of its own, or what is no frame at all."""
    parts = []
    for _ in range(random.randint(1, 8)):
        masked = random.random() < 0.6
        kind = random.randrange(6)
        if kind == 0:
            parts.append(random.randbytes(random.randint(1, 400)))
        elif kind == 1:
            parts.append(frame(random, TEXT, random.randint(0, 400), masked=masked, claimed=random.choice(HUGE)))
        elif kind == 2:
            parts.append(frame(random, random.choice((CLOSE, PING, PONG)), random.choice(SIZES[:8]), masked=masked))
        elif kind == 3:
            parts.append(frame(random, PING, 0, masked=masked) * random.choice((10, 1000)))
        elif kind == 4:
            parts.append(frame(random, random.randrange(16), random.choice(SIZES[:6]), masked=masked))
        else:
            parts.append(frame(random, BINARY, random.choice(SIZES), masked=masked))
    data = b"".join(parts)
    return data[: random.randint(1, len(data))] if random.random() < 0.4 else data


def cuts(random: Random, data: bytes) -> tuple[int, ...]:
    """Return a few places at which to cut bytes into pieces."""
    count = random.choice((0, 0, 0, 1, 3, 8))
    return tuple(sorted(random.randrange(len(data) + 1) for _ in range(count)))


def ending(random: Random) -> tuple[Step, ...]:
    """Return a way to leave: at once, with a reset, by halves, politely, or only after a while without reading."""
    return random.choice(
        (
            (),
            (Reset(),),
            (HalfClose(), ReadToEnd(0.5)),
            (ReadToEnd(0.05),),
            (Pause(0.05),),
            (Pause(0.05), Reset()),
            (HalfClose(),),
            (Send(frame(random, CLOSE, 2, masked=True)), ReadToEnd(0.5)),
        )
    )


def after_the_handshake(random: Random) -> tuple[Step, ...]:
    """Return what one side does on an open session."""
    if random.random() < 0.1:
        return (Echo(0.2), *ending(random))
    if random.random() < 0.03:  # more than the kernel's buffers hold, and nobody reads it
        return (Send(frame(random, BINARY, 1_000_000, masked=True) * 8), *ending(random))
    data = hostile(random)
    return (Send(data, cuts(random, data)), *ending(random))
