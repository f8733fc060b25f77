"""What clients read of why their worker's sessions ended."""

from __future__ import annotations

import pytest

from workers import reasons

FULL_DISK = """\
node:events:497
      throw er; // Unhandled 'error' event
      ^

Error: ENOSPC: no space left on device, write
Emitted 'error' event on WriteStream instance at:
    at emitErrorNT (node:internal/streams/destroy:170:8) {
  errno: -28,
  code: 'ENOSPC',
  [cause]: Error: another
}

Node.js v24.1.0
"""
OUT_OF_MEMORY = """\
<--- Last few GCs --->
[2066:0x3a1]    29943 ms: Mark-Compact 512.0 (550.0) -> 510.0 (548.0) MB

FATAL ERROR: Zone Allocation failed - process out of memory
----- Native stack trace -----

 1: 0xe16044 node::OOMErrorHandler(char const*, v8::OOMDetails const&)
"""


@pytest.mark.parametrize(
    ("printed", "code", "said"),
    [
        (FULL_DISK, 1, "the driver of worker chromium-00 ended: ENOSPC: no space left on device, write"),
        (OUT_OF_MEMORY, -6, "the driver of worker chromium-00 ended: Zone Allocation failed - process out of memory"),
        ("TypeError: x is not a function\n", 1, "the driver of worker chromium-00 ended: x is not a function"),
        ("", -9, "the driver of worker chromium-00 ended: signal 9"),
        ("Listening\n", 7, "the driver of worker chromium-00 ended: exit code 7"),
    ],
)
def test_a_drivers_end_is_told_in_its_own_last_words(printed: str, code: int, said: str) -> None:
    assert reasons.of_driver("chromium-00", code, printed.splitlines()) == said


def test_a_browser_that_was_closed_is_told_from_one_that_crashed() -> None:
    assert reasons.of_browser("chromium-00", "exit code 0") == "the browser of worker chromium-00 was closed"
    assert reasons.of_browser("chromium-00", "signal 9") == "the browser of worker chromium-00 crashed (signal 9)"
    assert reasons.of_browser("chromium-00", "") == "the browser of worker chromium-00 crashed"


def test_a_driver_that_hangs_is_told_from_a_browser_that_does() -> None:
    hung = "{} of worker chromium-00 stopped answering"
    assert reasons.of_silence("chromium-00", "the driver did not answer within 4 s") == hung.format("the driver")
    assert reasons.of_silence("chromium-00", "the browser did not answer within 4 s") == hung.format("the browser")
    refused = reasons.of_silence("chromium-00", "the driver does not answer: [Errno 111] Connection refused")
    assert refused == "the driver of worker chromium-00 takes no connections: [Errno 111] Connection refused"


def test_a_long_reason_is_cut_to_what_a_close_frame_has_room_for() -> None:
    cut = reasons.of_driver("chromium-00", 1, ["Error: " + "ü" * 200])
    assert cut.startswith("the driver of worker chromium-00 ended: üüü")
    assert cut.endswith("ü…")
    assert len(cut.encode()) in (122, 123)
