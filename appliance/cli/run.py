"""`applctl run`: a script or any command, with the grid's endpoint in its environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from appliance.cli.client import Target, open_target, target_options
from appliance.cli.command import command
from appliance.cli.output import Output

NAMES = ("PLAYWRIGHT_WS_ENDPOINT", "PW_TEST_CONNECT_WS_ENDPOINT")  # the second is what Playwright Test itself reads

_TOKEN_S = 86_400.0
_PASSED_ON = (signal.SIGTERM, signal.SIGHUP)
_NOT_FOUND, _NOT_RUNNABLE, _SIGNALLED = 127, 126, 128  # as shells have it


@command(
    "applctl run script.py",
    "applctl run script.py --headless 7      # arguments of the script",
    "applctl run -- npx playwright test      # any command",
    exit_codes="that of the script; 128 and more if a signal ended it, 127 if there is no such command",
    context_settings={"allow_interspersed_args": False},
)
@click.argument("words", metavar="SCRIPT.py|COMMAND [ARGS]...", nargs=-1, required=True, type=click.UNPROCESSED)
@target_options
def run(out: Output, words: tuple[str, ...], url: str | None, token: str | None) -> None:
    """Run a script with the grid's endpoint in its environment.

    PLAYWRIGHT_WS_ENDPOINT is what a script passes to connect(); Playwright Test reads PW_TEST_CONNECT_WS_ENDPOINT
    itself. If the grid needs a token, both hold one, which is valid while the script runs, for a day at most. A file
    that ends in .py is run by the Python of this command, which has a client of the right version.
    """
    with open_target(url, token, _TOKEN_S) as target:
        if not target.is_verified:
            out.warn(
                f"The client checks the certificate of {target.endpoint}. If it is for another name, use --url; "
                "NODE_EXTRA_CA_CERTS names an authority that Node.js does not know."
            )
        out.exit_code = _run(command_of(words), environment_for(target), out)


def command_of(words: tuple[str, ...]) -> list[str]:
    """Return what to run: this Python with a script, or the command itself."""
    return [sys.executable, *words] if words[0].endswith(".py") else list(words)


def environment_for(target: Target) -> dict[str, str]:
    """Return this environment with the endpoint; the token is in its query, where every client takes it."""
    url = target.url(token=target.token) if target.token else target.endpoint
    return os.environ | dict.fromkeys(NAMES, url)


def _run(command: list[str], environment: dict[str, str], out: Output) -> int:
    """Run a command to its end, and return its exit code. This process lives on until then, and revokes the token."""
    try:
        with _heirs() as heirs, subprocess.Popen(command, env=environment) as child:
            heirs.append(child)
            code = child.wait()
    except FileNotFoundError:
        out.warn(f"There is no command {command[0]}.")
        return _NOT_FOUND
    except OSError as error:
        out.warn(f"{command[0]} cannot be run: {error.strerror}.")
        return _NOT_RUNNABLE
    return code if code >= 0 else _SIGNALLED - code


@contextmanager
def _heirs() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Pass signals on to the processes in the list, which is returned. A terminal sends Ctrl-C to them as well.

    What this process ignores, as below nohup, the processes ignore, too.
    """
    heirs: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        for process in heirs:
            process.send_signal(number)

    handlers = {**dict.fromkeys(_PASSED_ON, pass_on), signal.SIGINT: lambda *_: None}  # SIG_IGN would be inherited
    heeded = [number for number in handlers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handlers[number]) for number in heeded}
    try:
        yield heirs
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
