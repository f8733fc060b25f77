"""The Lua library with a clock of the test's own: the text of `appliance.grid.store.library`, one expression changed.

The library looks at the clock in one place. Here it reads the time from a key instead, so that hours pass
as fast as somebody writes them there.
"""

from __future__ import annotations

import hashlib

from appliance.grid import store

LOOK_AT_THE_CLOCK = "redis.call('TIME')"
CLOCK = "clock"  # the key that holds the time, in milliseconds
BEGINNING_MS = 1_800_000_000_000


def library() -> tuple[str, str]:
    """Return the library as `appliance.grid.store.library` does, with the time from CLOCK, under a name of its own."""
    digest, text = store.library()
    assert text.count(LOOK_AT_THE_CLOCK) == 1
    text = text.replace(LOOK_AT_THE_CLOCK, f"{{0, redis.call('GET', '{CLOCK}') * 1000}}")
    own = hashlib.sha256(text.encode()).hexdigest()[:12]
    return own, text.replace(digest, own)
