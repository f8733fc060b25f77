"""`python -m proxy`: the proxy process, started by supervisord."""

from gevent import events, monkey

# There is no plugin of gevent's, and it would look for one 26 times in the metadata of all packages.
events.notify_and_call_entry_points = events.notify  # type: ignore[attr-defined]
monkey.patch_all()

import gc  # noqa: E402  # nothing may be imported before the patch
import signal  # noqa: E402
import sys  # noqa: E402

import gevent  # noqa: E402
from gevent.event import Event  # noqa: E402

from appliance import logs  # noqa: E402
from appliance.errors import ApplianceError  # noqa: E402
from appliance.machine import kernel  # noqa: E402
from appliance.settings import config  # noqa: E402
from proxy import loops  # noqa: E402
from proxy.proxy import Proxy  # noqa: E402

_start_native_thread = monkey.get_original("_thread", "start_new_thread")

# supervisord restarts the proxy at once and without end (startsecs = 0). One that cannot start must not end at
# once: it would occupy a core, and fill its log with one sentence.
PAUSE_AFTER_A_FALSE_START_S = 5


def main() -> int:
    """Run the proxy; return the exit code."""
    kernel.allow_open_files()
    kernel.die_with_parent(signal.SIGTERM)  # without supervisord nobody would restart or stop it
    try:
        settings = config.load()
        logs.configure(settings.log_level, settings.log_format, start_thread=_start_native_thread)
        loops.log_faults()
        proxy = Proxy(settings)
        gc.freeze()  # what exists now stays: no collection needs to look at it again
        return proxy.run()
    except ApplianceError as error:
        print(f"{error}\n{error.hint}".rstrip(), file=sys.stderr, flush=True)
        return _false_start()
    except (OSError, RuntimeError) as error:  # a machine without descriptors, room or threads
        print(f"The proxy cannot start: {error}", file=sys.stderr, flush=True)
        return _false_start()


def _false_start() -> int:
    """Return the exit code, after a pause that SIGTERM ends."""
    stopped = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stopped.set)
    stopped.wait(PAUSE_AFTER_A_FALSE_START_S)
    return 1


if __name__ == "__main__":
    sys.exit(main())
