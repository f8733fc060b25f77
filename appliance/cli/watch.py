"""`applctl status --watch` on a terminal: a screen that looks at the grid each second, and obeys keys.

Threads look at the grid, read keys and carry out orders, and put what comes of it into one queue; only the main thread
draws. So keys are obeyed at once even while Redis or the proxy does not answer.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue

from rich.live import Live

from appliance.cli import workers
from appliance.cli.output import Output, counted
from appliance.cli.terminal import Key, read_keys, single_keys
from appliance.cli.watch_screen import Screen
from appliance.cli.watch_snapshot import Rates, Snapshot, take_snapshot
from appliance.cli.watch_state import Command, State
from appliance.errors import ApplianceError
from appliance.grid.grid import open_grid
from appliance.grid.session import Kill

INTERVAL_S = 1.0


class _Said(str):
    """What came of an order, in a sentence."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _Why:
    """A session's story, in sentences."""

    session: str
    sentences: list[str]


_News = Snapshot | _Said | _Why | list[Key] | Exception | None  # a list has keys; None: the terminal's size has changed


def watch(out: Output) -> None:
    """Show the status until q is pressed or a signal ends it."""
    news: SimpleQueue[_News] = SimpleQueue()
    with (
        single_keys() as terminal,
        Live(console=out.console, screen=True, auto_refresh=False) as live,
        _resizes(news),
    ):
        screen = Screen(None, State(), has_keys=terminal is not None)
        live.update(screen, refresh=True)
        _in_thread(news, lambda: _look(news))
        if terminal is not None:
            _in_thread(news, lambda: _read(news, terminal))
        while not screen.state.is_over:
            _take(news.get(), screen, news, out.console.width)
            live.update(screen, refresh=True)


def _take(one: _News, screen: Screen, news: SimpleQueue[_News], width: int) -> None:
    """Let news change the screen; raises what ended a thread."""
    if isinstance(one, Exception):
        raise one
    if isinstance(one, Snapshot):
        screen.snapshot = one
    elif isinstance(one, _Said):
        screen.state.message = one
    elif isinstance(one, _Why):
        screen.state.why = (one.session, one.sentences)
    for key in one if isinstance(one, list) else ():
        _press(key, screen, news, width)


def _press(key: str, screen: Screen, news: SimpleQueue[_News], width: int) -> None:
    snapshot = screen.snapshot
    if snapshot is None or not snapshot.view.running:
        screen.state.is_over = key == "q"
        return
    if command := screen.state.press(key, screen.sections(snapshot, width)):
        screen.state.message = "…"
        _in_thread(news, lambda: news.put(_Said(_carry_out(command, snapshot))))
    if session := screen.state.asks_about(screen.sections(snapshot, width)):
        _in_thread(news, lambda: news.put(_tell(session, snapshot)))


def _tell(session: str, snapshot: Snapshot) -> _Why:
    try:
        with open_grid(snapshot.view.settings) as grid:
            return _Why(session, grid.why(session))
    except ApplianceError as error:
        return _Why(session, [str(error)])


def _carry_out(command: Command, snapshot: Snapshot) -> str:
    try:
        with open_grid(snapshot.view.settings) as grid:
            if not command.is_drain:
                is_known = grid.kill_session(command.id, Kill.BY_OPERATOR)
                return f"Ending session {command.id}." if is_known else "It has already ended."
            left = grid.drain_worker(command.id, workers.REASON)
            return "It has already gone." if left is None else f"It is draining; {counted(left, 'session')} left."
    except ApplianceError as error:
        return str(error)


def _look(news: SimpleQueue[_News]) -> None:
    rates = Rates()
    while True:
        news.put(take_snapshot(rates))
        time.sleep(INTERVAL_S)


def _read(news: SimpleQueue[_News], terminal: int) -> None:
    while keys := read_keys(terminal):
        news.put(keys)
    news.put([Key.of("q")])  # the terminal is gone


def _in_thread(news: SimpleQueue[_News], call: Callable[[], None]) -> None:
    """Call in a thread whose error ends the command; it does not keep the program from ending."""

    def run() -> None:
        try:
            call()
        except Exception as error:  # raised in the main thread
            news.put(error)

    threading.Thread(target=run, daemon=True).start()


@contextmanager
def _resizes(news: SimpleQueue[_News]) -> Iterator[None]:
    before = signal.signal(signal.SIGWINCH, lambda *_: news.put(None))
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
