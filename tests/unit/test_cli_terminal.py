"""The terminal of `applctl status --watch`: its keys, and that it is left as it was, whatever ends the command."""

from __future__ import annotations

import os
import signal
import sys
import termios
from collections.abc import Iterator

import pytest

from appliance.cli.terminal import read_keys, single_keys


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """Make a terminal the standard input; return its two ends, the program's last."""
    typist, program = os.openpty()
    with open(program) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield typist, program
    os.close(typist)


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        ("jk", ["down", "up"]),
        ("\x1b[A\x1b[B\x1bOA", ["up", "down", "up"]),
        ("s\t\x1b[Z", ["next", "next", "previous"]),
        ("\r", ["enter"]),
        ("\x1b", ["escape"]),
        ("\x1b[5~\x1b[6~gG", ["page up", "page down", "home", "end"]),
        ("\x1b[15~q", ["\x1b[15~", "q"]),
    ],
)
def test_keys_are_read_as_they_are_pressed(typed: str, keys: list[str], terminal: tuple[int, int]) -> None:
    with single_keys() as program:
        assert program is not None
        os.write(terminal[0], typed.encode())
        assert read_keys(program) == keys


@pytest.mark.parametrize("number", [None, signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_as_it_was_after_any_end(number: signal.Signals | None, terminal: tuple[int, int]) -> None:
    before, handler = termios.tcgetattr(terminal[1]), signal.getsignal(signal.SIGTERM)
    ending = pytest.raises(SystemExit if number else ValueError)
    with ending as ended, single_keys():
        assert not termios.tcgetattr(terminal[1])[3] & (termios.ICANON | termios.ECHO)
        if number is None:
            raise ValueError
        os.kill(os.getpid(), number)
        signal.pause()  # until the signal's handler has run
    assert number is None or ended.value.args == (128 + number,)
    assert termios.tcgetattr(terminal[1]) == before
    assert signal.getsignal(signal.SIGTERM) == handler


def test_without_a_terminal_no_keys_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with single_keys() as program:
            assert program is None
