"""Logs: one line per event, as text for people or JSON for machines, on standard output.

supervisord writes the lines to files and rotates them. An event is named `subject.happened`; what
belongs to it follows as key=value, always with `worker` and `session` where there is one.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, cast

# structlog imports rich, if there is one, for the tracebacks that it draws on a terminal. No process writes to one
# through this module, and in a worker rich would be a tenth of what it imports.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
import structlog  # noqa: E402

if sys.modules["rich"] is None:
    del sys.modules["rich"]

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger


def configure(level: str, log_format: str, **bound: Any) -> None:
    """Set the process's logging up: `level` is a name of `logging`, `log_format` "text" or "json".

    What is given as `bound` stands in every line.
    """
    renderer: Any = (
        structlog.processors.JSONRenderer(sort_keys=False)
        if log_format == "json"
        else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            lambda _logger, _method, event: {**bound, **event},  # greenlets do not inherit context variables
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )


def get_logger() -> BoundLogger:
    """Give a logger: `log.info("session.started", session=…, worker=…)`."""
    return cast("BoundLogger", structlog.get_logger())
