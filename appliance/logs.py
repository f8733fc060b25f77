"""Logs: one line per event, as text for people or JSON for machines, on standard output.

supervisord writes the lines to files and rotates them. An event is named `subject.happened`; what
belongs to it follows as key=value, always with `worker` and `session` where there is one.
"""

from __future__ import annotations

import _thread
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO, cast

from appliance.log_writer import LogWriter
from appliance.printable import printable

# structlog imports rich, if there is one, for the tracebacks that it draws on a terminal. No process writes to one
# through this module, and in a worker rich would be a tenth of what it imports.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
import structlog  # noqa: E402

if sys.modules["rich"] is None:
    del sys.modules["rich"]

StartThread = Callable[[Callable[[], None], tuple[()]], object]

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger


_writers: list[LogWriter] = []


def configure(
    level: str, log_format: str, *, start_thread: StartThread = _thread.start_new_thread, **bound: Any
) -> None:
    """Set up the process's logging: `level` is a name of `logging`, `log_format` "text" or "json".

    The `bound` values stand in every line. `start_thread` starts the thread of the operating system that writes them.
    To be called once in a process.
    """
    render: Any = (
        structlog.processors.JSONRenderer(sort_keys=False)
        if log_format == "json"
        else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False)
    )
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)

    def renderer(*of: Any) -> str:
        return printable(render(*of))  # values come from clients and drivers, and lines are read on terminals

    def note(dropped: int) -> str:
        event = {"event": "log.lines_dropped", **bound, "lines": dropped, "level": "warning"}
        return f"{renderer(None, 'warning', stamp(None, 'warning', event))}\n"

    writer = LogWriter(sys.stdout.fileno(), note, start_thread)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            lambda _logger, _method, event: {**bound, **event},  # greenlets do not inherit context variables
            structlog.processors.add_log_level,
            stamp,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", writer)),
        cache_logger_on_first_use=True,
    )
    _writers.append(writer)


def flush() -> None:
    """Write what is left, within a short time: for a process that ends without Python's own end."""
    for writer in _writers:
        writer.flush_all()


def get_logger() -> BoundLogger:
    """Return a logger: `log.info("session.started", session=…, worker=…)`."""
    return cast("BoundLogger", structlog.get_logger())
