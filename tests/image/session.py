"""Sessions of stock clients with a machine's grid, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

CLIENT = Path(__file__).with_name("client.py")
_SESSION_S = 600.0


@dataclass(frozen=True, slots=True)
class Saw:
    """What a client saw, and what became of the addresses that it was told to try."""

    title: str
    version: str
    fetched: dict[str, str] = field(default_factory=dict)
    requested: dict[str, str] = field(default_factory=dict)


class Client:
    """A client that has been started."""

    def __init__(
        self,
        endpoint: str,
        token: str,
        *urls: str,
        site: str = "",
        hold_s: float = 0,
        authority: Path | None = None,
        python: str = sys.executable,
    ) -> None:
        """Open a page, on `site` if it is given, try the URLs, and stay for `hold_s` seconds.

        `authority` is who certified the endpoint, if that is none that everybody knows. `python` has another version of
        Playwright.
        """
        environment = os.environ | {"TOKEN": token, "SITE": site, "HOLD_S": str(hold_s)}
        environment |= {"NODE_EXTRA_CA_CERTS": str(authority)} if authority else {}
        self._process = subprocess.Popen(
            [python, CLIENT, endpoint, *urls],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def saw(self) -> Saw:
        """Wait until it has opened its page, and give what it saw."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(self._process.communicate(timeout=_SESSION_S)[1])
        return Saw(**json.loads(line))

    def end(self) -> str:
        """Wait until it has ended; returns "" or, if it failed, what it said."""
        _, said = self._process.communicate(timeout=_SESSION_S)
        return said if self._process.returncode else ""

    def kill(self) -> None:
        """End it, hard."""
        self._process.kill()
        self._process.communicate()

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, well or not."""
        return self._process.poll() is not None


def use(endpoint: str, token: str, *urls: str, site: str = "") -> Saw:
    """Have one whole session, and give what the client saw."""
    client = Client(endpoint, token, *urls, site=site)
    saw = client.saw()
    assert not (said := client.end()), said
    return saw
