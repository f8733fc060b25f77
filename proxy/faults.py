"""Faults of the proxy's own: a greenlet or a callback that nobody waits for does not end unnoticed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

import gevent

from appliance import logs

log = logs.get_logger()


def report() -> None:
    """Log as events what gevent would print: the exceptions of greenlets and of callbacks on its loop."""
    hub: Any = gevent.get_hub()
    hub.print_exception = _log


def end_with(loops: Iterable[gevent.Greenlet[..., None]], end: Callable[[], object]) -> None:
    """Call `end` if one of the loops ends by an exception: the proxy would go on without what that loop did."""

    def ended(loop: gevent.Greenlet[..., None]) -> None:
        log.error("proxy.loop_ended", loop=repr(loop), error=repr(loop.exception))
        end()

    for loop in loops:
        loop.link_exception(ended)


def _log(context: object, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.error("proxy.fault", where=repr(context), exc_info=(kind, error, trace))
