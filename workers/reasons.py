"""Why a worker's sessions end, in the words that their clients read. No I/O in here.

A WebSocket's Close frame has room for 123 bytes (RFC 6455, section 5.5), so each reason begins with what matters most.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

REASON_MAX_BYTES = 123

# What node prints of an error that nobody caught, "Error: ENOSPC: no space left on device, write", and of an end of
# V8's, "FATAL ERROR: Zone Allocation failed - process out of memory". Causes and properties are indented.
_ERROR = re.compile(r"(?:[A-Z]\w*)?Error(?: \[\w+\])?: (?P<what>.+)|(?:FATAL|Fatal) (?:ERROR|error)[:,] (?P<fatal>.+)")


def of_driver(name: str, code: int, lines: Iterable[str]) -> str:
    """Return why sessions end whose driver has ended; `code` is as subprocess has it, `lines` are what it printed."""
    return fitting(f"the driver of worker {name} ended: {last_words(lines) or ending(code)}")


def of_browser(name: str, how: str) -> str:
    """Return why sessions end whose browser has ended; `how` is "" if that is not known."""
    if how == ending(0):
        return f"the browser of worker {name} was closed"
    return f"the browser of worker {name} crashed{f' ({how})' if how else ''}"


def of_zygote(name: str) -> str:
    """Return why sessions end whose browser goes on, but has lost the process that it forks its pages from."""
    return f"the browser of worker {name} crashed: it can open no more pages"


def of_silence(name: str, error: str) -> str:
    """Return why sessions end whose browser could not be asked: it hangs, or its driver does."""
    if error.startswith("the driver did not answer"):
        return f"the driver of worker {name} stopped answering"
    if error.startswith("the driver"):
        return fitting(f"the driver of worker {name} takes no connections: {error.rpartition(': ')[2]}")
    return f"the browser of worker {name} stopped answering"


def of_worker(name: str, thread: str, error: Exception) -> str:
    """Return why sessions end whose worker has a fault of its own."""
    return fitting(f"worker {name} failed ({thread}): {type(error).__name__}: {error}")


def of_excess(name: str, size: str, kind: str) -> str:
    """Return why sessions end whose worker used more than `size` of a `kind`, memory or disk."""
    return f"worker {name} used more than {size} of {kind}"


def ending(code: int) -> str:
    """Return how a process ended: "exit code 1", or "signal 9" for -9."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def last_words(lines: Iterable[str]) -> str:
    """Return what a driver printed last that says why it ended; "" if nothing does."""
    found = [match for line in lines if (match := _ERROR.match(line))]
    return (found[-1]["what"] or found[-1]["fatal"]).strip() if found else ""


def fitting(reason: str) -> str:
    """Return the reason, cut to one line and to what a Close frame has room for."""
    line = " ".join(reason.split())
    if len(line.encode()) <= REASON_MAX_BYTES:
        return line
    return line.encode()[: REASON_MAX_BYTES - len("…".encode())].decode(errors="ignore") + "…"
