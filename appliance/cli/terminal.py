"""A terminal that gives each key as it is pressed, and is as it was when the block ends, however it ends."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGHUP)
_SIGNALLED = 128  # as shells have it
_SUSPEND = termios.VSUSP
_REST_OF_KEY_S = 0.025
_KEY = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|.", re.DOTALL)

# What terminals send (xterm's control sequences, and those of the Linux console).
_NAMES = {
    **dict.fromkeys(("\x1b[A", "\x1bOA", "k"), "up"),
    **dict.fromkeys(("\x1b[B", "\x1bOB", "j"), "down"),
    **dict.fromkeys(("\x1b[5~",), "page up"),
    **dict.fromkeys(("\x1b[6~", " "), "page down"),
    **dict.fromkeys(("\x1b[H", "\x1bOH", "\x1b[1~", "g"), "home"),
    **dict.fromkeys(("\x1b[F", "\x1bOF", "\x1b[4~", "G"), "end"),
    **dict.fromkeys(("\t", "s", "\x1b[C", "\x1bOC"), "next"),
    **dict.fromkeys(("\x1b[Z", "S", "\x1b[D", "\x1bOD"), "previous"),
    **dict.fromkeys(("\r", "\n"), "enter"),
    "\x1b": "escape",
    **dict.fromkeys(("\x7f", "\b"), "backspace"),
}


class Key(str):
    """A key by its name: "up", "enter", or the letter itself. `typed` is what the terminal sent, such as "k"."""

    typed: str

    @classmethod
    def of(cls, typed: str) -> Key:
        """Return the key for which a terminal sends this."""
        key = cls(_NAMES.get(typed, typed))
        key.typed = typed
        return key


@contextmanager
def single_keys() -> Iterator[int | None]:
    """Return a terminal from which keys can be read one by one; None if standard input is none.

    SIGTERM and SIGHUP end the program in order, and Ctrl-Z does nothing: the shell would get a terminal in this mode.
    """
    terminal = sys.stdin.fileno() if sys.stdin.isatty() else None
    before = {number: signal.signal(number, _end) for number in _ENDING}
    mode = termios.tcgetattr(terminal) if terminal is not None else None
    try:
        if terminal is not None:
            tty.setcbreak(terminal)
            _forbid_suspending(terminal)
        yield terminal
    finally:
        if terminal is not None and mode is not None:
            termios.tcsetattr(terminal, termios.TCSAFLUSH, mode)
        for number, handler in before.items():
            signal.signal(number, handler)


def read_keys(terminal: int) -> list[Key]:
    """Wait for keys, and return them; none if the terminal is gone."""
    text = os.read(terminal, 1024)
    while text.endswith((b"\x1b", b"\x1b[", b"\x1bO")) and select.select([terminal], [], [], _REST_OF_KEY_S)[0]:
        text += os.read(terminal, 1024)
    return [Key.of(key) for key in _KEY.findall(text.decode(errors="replace"))]


def _forbid_suspending(terminal: int) -> None:
    mode = termios.tcgetattr(terminal)
    mode[6][_SUSPEND] = b"\0"  # _POSIX_VDISABLE, termios(3)
    termios.tcsetattr(terminal, termios.TCSANOW, mode)


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(_SIGNALLED + number)
