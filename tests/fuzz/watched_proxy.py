"""`python -m tests.fuzz.watched_proxy`: the proxy, unchanged, but on SIGUSR1 it says what it holds."""

from gevent import monkey

monkey.patch_all()

import gc  # noqa: E402  # nothing may be imported before the patch
import signal  # noqa: E402
import sys  # noqa: E402

import gevent  # noqa: E402
from greenlet import greenlet  # noqa: E402

from proxy.__main__ import main  # noqa: E402


def say() -> None:
    """Collect what is garbage, and count the greenlets that can still run."""
    gc.collect()
    count = sum(isinstance(thing, greenlet) and not thing.dead for thing in gc.get_objects())
    print(f"greenlets={count}", flush=True)


gevent.signal_handler(signal.SIGUSR1, say)
sys.exit(main())
