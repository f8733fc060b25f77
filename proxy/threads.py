"""Calls that wait for the disk or for other processes, made in a thread so that no session waits with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import gevent

T = TypeVar("T")


def in_thread(call: Callable[..., T], arguments: tuple[object, ...] = ()) -> T:
    """Call it and return what it returns; what it raises is raised here.

    gevent's pool would also print the traceback of an error that the caller handles, a full disk's say.
    """
    result, error = gevent.get_hub().threadpool.apply(_outcome, (call, arguments))
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def _outcome(call: Callable[..., T], arguments: tuple[object, ...]) -> tuple[T | None, Exception | None]:
    try:
        return call(*arguments), None
    except Exception as error:  # raised again where it is handled
        return None, error
