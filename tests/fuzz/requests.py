"""Requests to the proxy: valid ones, and what a grammar-aware mutation makes of them."""

from __future__ import annotations

from random import Random

CASE_HEADER = b"x-playwright-fuzz"  # it reaches the worker unchanged, and tells it which case it is in
ODD = (b"\x00", b"\r", b"\n", b"\r\n", b":", b" ", b"\t", b"\xff", b"\x80", b"%00", b"%zz", b"\xe2\x80\xa8", b"%n")
TARGETS = (
    b"/", b"/?browser=chromium", b"/?browser=firefox", b"/?browser=", b"/?browser=netscape", b"/?name=" + b"n" * 300,
    b"/?browser=%63hromium", b"/?%", b"/?browser=chromium&browser=firefox", b"/json", b"/json?x=1", b"/healthz",
    b"/metrics", b"/api/v1/capacity", b"/nothing", b"//", b"/../", b"*", b"http://other/", b"/" + b"a" * 9000,
    b"http://[", b"//[", b"/%ff%fe", b"/?name=%ff%00%0d%0a", b"/#", b"?", b"",
)  # fmt: skip
METHODS = (b"GET", b"GET", b"POST", b"HEAD", b"OPTIONS", b"get", b"CONNECT", b"G" * 5000, b"")
VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.", b"HTTP/1.1.1", b"HTTP/-1.-1", b"", b"ICY")
HEADERS = (
    b"Content-Length: 10", b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Content-Length: x",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Expect: 100-continue", b"Origin: http://a",
    b"Connection: close", b"Connection: keep-alive, Upgrade", b"Upgrade: h2c", b"Sec-WebSocket-Version: 8",
    b"Sec-WebSocket-Key: short", b"Sec-WebSocket-Key: \xff\xfe", b"Sec-WebSocket-Extensions: permessage-deflate",
    b"x-playwright-browser: webkit", b"x-playwright-browser: \xc3\xa9", b"User-Agent: Playwright/1.1.1", b"Host:",
    b"User-Agent: Playwright/999999999999.9.9", b" folded", b"no colon", b": no name", b"Name :value", b"N\xff: \xff",
    b"Cookie: " + b"c" * 20000, b"x-playwright-long: " + b"l" * 60000, b"Sec-WebSocket-Protocol: a\x00b",
)  # fmt: skip


def valid(number: int, target: bytes = b"/?browser=chromium") -> list[bytes]:
    """Return the lines of a valid request for a session of one case."""
    return [
        b"GET %s HTTP/1.1" % target,
        b"Host: 127.0.0.1",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"User-Agent: Playwright/1.65.1 (x64; fuzz)",
        b"%s: %d" % (CASE_HEADER, number),
    ]


def joined(lines: list[bytes], newline: bytes = b"\r\n") -> bytes:
    """Return a request's bytes."""
    return newline.join(lines) + newline * 2


def malformed(random: Random, number: int) -> bytes:
    """Return a request that went through one to four mutations of its lines, and perhaps some of its bytes."""
    lines = valid(number, random.choice(TARGETS) if random.random() < 0.3 else b"/?browser=chromium")
    for _ in range(random.randint(1, 4)):
        _mutate(random, lines)
    data = joined(lines, random.choice((b"\r\n",) * 8 + (b"\n", b"\r")))
    if random.random() < 0.4:
        data = flipped(random, data)
    if random.random() < 0.1:
        data = data[: random.randrange(len(data))]
    return data


def flipped(random: Random, data: bytes) -> bytes:
    """Change, remove or insert a few bytes."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 6)):
        place = random.randrange(len(changed)) if changed else 0
        kind = random.randrange(3)
        if kind == 0 and changed:
            changed[place] = random.randrange(256)
        elif kind == 1 and changed:
            del changed[place : place + random.randint(1, 8)]
        else:
            changed[place:place] = random.choice(ODD)
    return bytes(changed)


def _mutate(random: Random, lines: list[bytes]) -> None:
    place = random.randrange(len(lines)) if lines else 0
    kind = random.randrange(7)
    if kind == 0 and lines:
        del lines[place]
    elif kind == 1 and lines:
        lines.insert(random.randrange(len(lines) + 1), lines[place])
    elif kind == 2:
        random.shuffle(lines)
    elif kind == 3 and lines:
        lines[place] += random.choice((b"x" * random.randint(1000, 70000), *ODD))
    elif kind == 4:
        lines[1:1] = [b"X-%d: %d" % (count, count) for count in range(random.choice((50, 99, 101, 300)))]
    elif kind == 5 and lines:
        lines[0] = b" ".join((random.choice(METHODS), random.choice(TARGETS), random.choice(VERSIONS)))
    else:
        lines.insert(random.randint(min(1, len(lines)), len(lines)), random.choice(HEADERS))
