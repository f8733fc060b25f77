"""WebSocket frames, as a test's own client or worker sends and reads them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def frame(opcode: int, payload: bytes, *, final: bool = True, mask: bytes = b"") -> bytes:
    """Build a frame by RFC 6455, section 5.2; the payload is sent as it is given, `mask` or not."""
    size, masked = len(payload), 0x80 if mask else 0
    if size < 126:
        length = bytes([masked | size])
    elif size < 65536:
        length = bytes([masked | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([masked | 127]) + size.to_bytes(8, "big")
    return bytes([final << 7 | opcode]) + length + mask + payload


@dataclass(frozen=True)
class Frame:
    """A frame that was read, its payload unmasked."""

    opcode: int
    payload: bytes
    is_masked: bool

    @property
    def code(self) -> int:
        """The code of a Close frame."""
        return int.from_bytes(self.payload[:2], "big")

    @property
    def reason(self) -> str:
        """The reason of a Close frame."""
        return self.payload[2:].decode()


def read_frame(source: socket.socket) -> Frame | None:
    """Read the next frame; None if the connection ends before one begins. Raises EOFError in mid-frame."""
    if not (first := source.recv(1)):
        return None
    (second,) = _read(source, 1)
    size = second & 0x7F
    if size > 125:
        size = int.from_bytes(_read(source, 2 if size == 126 else 8), "big")
    mask = _read(source, 4) if second & 0x80 else b""
    payload = _read(source, size)
    if mask:
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return Frame(first[0] & 0x0F, payload, bool(mask))


def _read(source: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        if not (more := source.recv(size - len(data))):
            raise EOFError(f"{len(data)} of {size} bytes")
        data += more
    return bytes(data)


def frames(direction: bytes) -> Iterator[tuple[int, int]]:
    """Yield each frame after the handshake: its first byte (RFC 6455, section 5.2), and its payload's length."""
    place = direction.index(b"\r\n\r\n") + 4
    while place + 2 <= len(direction):
        length, extended = direction[place + 1] & 0x7F, 0
        if length >= 126:
            extended = 2 if length == 126 else 8
            length = int.from_bytes(direction[place + 2 : place + 2 + extended], "big")
        yield direction[place], length
        place += 2 + extended + length + (4 if direction[place + 1] & 0x80 else 0)
