"""The command line, `applctl`."""

import signal


def main() -> None:
    """Run `applctl`. Ctrl-C while its parts are imported ends it without a traceback."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # it may be ignored, in a shell's background
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from appliance.cli.application import main as applctl

    signal.signal(signal.SIGINT, before)
    applctl()
