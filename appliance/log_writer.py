"""Writes log lines from a thread of its own, so that a reader that is stuck delays nothing but the lines.

Standard output is a pipe to supervisord, which writes it to files. When supervisord does not read, because its disk is
slow or it is stopped, the pipe is full after 64 KiB, and whoever writes to it stands still: in the proxy all relays.
"""

from __future__ import annotations

import atexit
import os
from collections import deque
from collections.abc import Callable

from appliance.deadline import wait_until

LINES_MAX = 10_000  # some MiB; beyond it lines are dropped, and counted
LAST_LINES_S = 2.0  # for the lines that are left when the process ends


class LogWriter:
    """A stream whose `write` returns at once.

    Rules
     1. The thread is one of the operating system's, also where gevent makes greenlets of threads. So an eventfd wakes
        it, which needs no lock of either kind.
     2. Lines keep their order. Those that are dropped are counted, and the count stands where they are missing.
     3. Where no thread can be started, as at a limit of processes, each line is written at once, and the next one tries
        to start it again.
    """

    def __init__(self, descriptor: int, note: Callable[[int], str], start_thread: Callable[..., object]) -> None:
        """Start the thread by `start_thread`; `note` makes the line that tells how many lines were dropped."""
        self._descriptor = descriptor
        self._note = note
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._is_writing = False
        self._woken = os.eventfd(0, os.EFD_CLOEXEC)
        self._start_thread = start_thread
        self._has_thread = self._try_to_start()
        atexit.register(self.flush_all)

    @property
    def waiting(self) -> int:
        """How many lines wait for the thread."""
        return len(self._lines)

    def write(self, text: str) -> None:
        """Queue text that ends a line, or drop it if too much waits."""
        self._has_thread = self._has_thread or self._try_to_start()
        if not self._has_thread:
            self._write_all(text.encode(errors="backslashreplace"))
            return
        if self.waiting >= LINES_MAX:
            self._dropped += 1
            return
        if self._dropped:
            count, self._dropped = self._dropped, 0
            self._lines.append(self._note(count))
        self._lines.append(text)
        os.eventfd_write(self._woken, 1)

    def flush(self) -> None:
        """Do nothing: lines leave as soon as they can."""

    def flush_all(self, within_s: float = LAST_LINES_S) -> None:
        """Wait until all lines are written, or for so many seconds."""
        wait_until(lambda: not (self._lines or self._is_writing), within_s, 0.002)

    def _try_to_start(self) -> bool:
        try:
            self._start_thread(self._run, ())
        except RuntimeError:  # what _thread.start_new_thread makes of EAGAIN
            return False
        return True

    def _run(self) -> None:
        while True:
            os.eventfd_read(self._woken)
            self._is_writing = True
            while lines := [self._lines.popleft() for _ in range(len(self._lines))]:
                self._write_all("".join(lines).encode(errors="backslashreplace"))
            self._is_writing = False

    def _write_all(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:  # nobody reads any more: there is nobody to tell
            return
