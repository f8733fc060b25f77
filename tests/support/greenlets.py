"""Greenlets that what is tested has started, and does not end itself."""

from __future__ import annotations

import gc

import gevent


def kill_greenlets() -> None:
    """End all greenlets, so that none outlives its test."""
    gevent.killall([one for one in gc.get_objects() if isinstance(one, gevent.Greenlet) and not one.dead])
