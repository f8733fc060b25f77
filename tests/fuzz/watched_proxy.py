"""`python -m tests.fuzz.watched_proxy`: the proxy, unchanged, but on SIGUSR1 it says what it holds."""

from gevent import monkey

monkey.patch_all()

import gc  # noqa: E402  # nothing may be imported before the patch
import signal  # noqa: E402
import sys  # noqa: E402

import gevent  # noqa: E402
from greenlet import getcurrent, greenlet  # noqa: E402

from proxy.__main__ import main  # noqa: E402


def root_of(one: greenlet) -> greenlet:
    """Return the greenlet that a thread begins with, of one that runs there."""
    while one.parent:
        one = one.parent
    return one


def say() -> None:
    """Collect what is garbage, and count the greenlets that can still run; those of other threads come and go."""
    gc.collect()
    here = root_of(getcurrent())
    found = [thing for thing in gc.get_objects() if isinstance(thing, greenlet) and not thing.dead]
    count = sum(root_of(one) is here for one in found)
    print(f"greenlets={count}", flush=True)


gevent.signal_handler(signal.SIGUSR1, say)
sys.exit(main())
