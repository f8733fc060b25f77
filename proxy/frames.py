"""Where WebSocket frames begin and end (RFC 6455, section 5.2), without looking at their payloads.

A proxy that relays bytes may send frames of its own only between two others. So it follows the headers of what passes:
each has the length of its payload, and everything else is counted, not read.

Bytes in, facts out; no I/O.
"""

from __future__ import annotations

import os

CONTROL = 0x8  # the bit of an opcode that makes a control frame of it (section 5.5)
OPCODE_TEXT, OPCODE_CLOSE = 0x1, 0x8
REASON_MAX_BYTES = 123  # a control frame holds 125 bytes, 2 of them for the code (section 5.5.1)

# A Ping may also stand between the fragments of a message (section 5.4), and compression leaves it alone
# (RFC 7692, section 5.1). An unasked Pong is ignored (section 5.5.3), so its Pong may pass to the driver.
PING_FRAME = b"\x89\x00"


def _header(second: int) -> tuple[int, int, int]:
    """Return what a header's second byte says: its length, the bytes of an extended payload length, the payload."""
    payload = second & 0x7F
    extended = (payload == 126) * 2 or (payload == 127) * 8
    return 2 + extended + (second & 0x80) // 0x20, extended, payload  # 4 bytes of mask, if its bit is set


_HEADERS = tuple(_header(second) for second in range(256))  # looked up once or more for each message


class FrameFollower:
    """Follows one direction of a connection, from the first byte after the handshake.

    `control_bytes` is the size of the control frames that have begun; all other bytes belong to messages. `messages`
    counts those whose last frame has begun.
    `close_at` is where a Close frame began in the bytes fed last, below 0 if it began earlier.
    """

    __slots__ = ("_header", "_payload_left", "close_at", "close_seen", "control_bytes", "messages")

    def __init__(self) -> None:
        """Start at a boundary."""
        self._payload_left = 0
        self._header = b""  # the first bytes of a header whose rest has not come yet
        self.close_seen = False
        self.close_at = -1
        self.control_bytes = 0
        self.messages = 0

    @property
    def at_boundary(self) -> bool:
        """Whether a frame of our own may follow now."""
        return not self._payload_left and not self._header

    def feed(self, data: bytes | memoryview) -> None:
        """Follow the next bytes, in chunks of any size."""
        size = len(data)
        position = self._payload_left
        if size <= position:
            self._payload_left = position - size
            return
        before = len(self._header)
        if before:
            data = self._header + bytes(data)
            size = len(data)
        while size - position >= 2:
            length, extended, payload = _HEADERS[data[position + 1]]
            if size - position < length:
                break
            if extended == 2:
                payload = data[position + 2] << 8 | data[position + 3]
            elif extended:
                payload = int.from_bytes(data[position + 2 : position + 10], "big")
            first = data[position]
            if first & CONTROL:
                self.control_bytes += length + payload
                if first & 0x0F == OPCODE_CLOSE:
                    self.close_seen, self.close_at = True, position - before
            else:
                self.messages += first >> 7  # 1 for a message's last frame (FIN)
            position += length + payload
        if position >= size:
            self._payload_left = position - size
            self._header = b""
        else:
            self._payload_left = 0
            self._header = bytes(data[position:])


def close_frame(code: int, reason: str, *, masked: bool = False) -> bytes:
    """Build a Close frame, `masked` as a client must; a reason of more than 123 bytes of UTF-8 is cut."""
    text = reason.encode()[:REASON_MAX_BYTES].decode(errors="ignore").encode()
    payload = code.to_bytes(2, "big") + text
    head = bytes([0x80 | OPCODE_CLOSE, masked << 7 | len(payload)])
    return head + (_mask(payload) if masked else payload)


def read_close(frame: bytes) -> tuple[int, str]:
    """Return the code and the reason of a server's Close frame, which is not masked.

    The code is 0 if the frame names none or is not complete.
    """
    payload = frame[2 : 2 + (frame[1] & 0x7F)] if len(frame) > 1 else b""
    return int.from_bytes(payload[:2], "big"), payload[2:].decode(errors="replace")


def split_small(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return the complete frames at the beginning of what a server has sent, and the rest.

    Each frame is its first byte's opcode and its payload, of 125 bytes at most.
    """
    found = []
    while len(data) >= 2 and len(data) >= (end := 2 + (data[1] & 0x7F)):
        found.append((data[0] & 0x0F, data[2:end]))
        data = data[end:]
    return found, data


def _mask(payload: bytes) -> bytes:
    """Return an unpredictable key and the payload masked with it (section 5.3)."""
    key = os.urandom(4)
    return key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
