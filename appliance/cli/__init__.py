"""The command line, `applctl`."""

import signal

_before = signal.getsignal(signal.SIGINT)
signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while this is imported ends the program without a traceback

from appliance.cli.application import main  # noqa: E402

signal.signal(signal.SIGINT, _before)

__all__ = ["main"]
