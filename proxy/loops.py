"""What runs beside the connections: loops, their faults, and calls in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, TypeVar

import gevent

from appliance import logs
from appliance.request_errors import StoreUnavailable

log = logs.get_logger()

T = TypeVar("T")

RETRY_S = 1.0  # after a step that Redis did not hear: leases go on running out when Redis is back


def repeat(interval_s: float, step: Callable[[], None], pause: Callable[[], None] | None = None) -> None:
    """Call `step` now, and for ever after each interval or pause. That Redis is away is logged once."""
    away = False
    while True:
        try:
            step()
            if away:
                log.info("redis.back")
            away = False
        except StoreUnavailable as error:
            if not away:
                log.warning("redis.away", error=str(error))
            away = True
        except Exception:  # a fault in one step must not end all further ones
            log.exception("proxy.step_failed", step=step.__name__)
        if away:
            gevent.sleep(RETRY_S if pause else min(interval_s, RETRY_S))
        elif pause:
            pause()
        else:
            gevent.sleep(interval_s)


def log_faults() -> None:
    """Log what gevent would print: exceptions that end greenlets, and those of callbacks on its loop."""
    hub: Any = gevent.get_hub()
    hub.print_exception = _log


def _log(context: object, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.error("proxy.fault", where=repr(context), exc_info=(kind, error, trace))


def end_with(loops: Iterable[gevent.Greenlet[..., None]], end: Callable[[], object]) -> None:
    """Call `end` if one of the loops ends by an exception: the proxy would go on without that loop's work."""

    def ended(loop: gevent.Greenlet[..., None]) -> None:
        log.error("proxy.loop_ended", loop=repr(loop), error=repr(loop.exception))
        end()

    for loop in loops:
        loop.link_exception(ended)


def in_thread(call: Callable[..., T], arguments: tuple[object, ...] = ()) -> T:
    """Call what waits for the disk or for other processes in a thread; return its result, or raise its exception.

    gevent's pool alone would also print the traceback of an error that the caller handles, such as a full disk.
    """
    result, error = gevent.get_hub().threadpool.apply(_outcome, (call, arguments))
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def _outcome(call: Callable[..., T], arguments: tuple[object, ...]) -> tuple[T | None, Exception | None]:
    try:
        return call(*arguments), None
    except Exception as error:  # raised again by `in_thread`
        return None, error
