"""How commands use a grid as its clients do: this machine's, with a token of their own, or another by its URL."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import click

from appliance.cli.connection import running_settings
from appliance.cli.token_ledger import temporary_token
from appliance.errors import ApplianceError
from appliance.machine.inherited import inherited
from appliance.names import Browser
from appliance.settings.config import Settings

if TYPE_CHECKING:  # to import it takes a fifth of what each command takes to start
    from playwright.sync_api import Browser as ConnectedBrowser
    from playwright.sync_api import BrowserType, Playwright

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_TIMEOUT_S = 120.0  # for a slot of a grid whose QUEUE_TIMEOUT is not known


class SessionFailed(ApplianceError):
    """The session through the grid failed."""

    hint = "`applctl doctor` looks for the cause; `applctl logs` shows the logs."


@dataclass(frozen=True, slots=True)
class Target:
    """A grid's endpoint, and how clients are admitted there.

    `settings` are the appliance's if it runs here, else None. `default_browser` is of sessions that name none.
    """

    endpoint: str
    token: str
    settings: Settings | None
    timeout_s: float = _TIMEOUT_S

    @property
    def default_browser(self) -> Browser:
        """The browser of who names none."""
        return self.settings.default_browser_type if self.settings else Browser.CHROMIUM

    @property
    def is_verified(self) -> bool:
        """Whether the endpoint's certificate is verified: not this machine's own, as in checks/view.py."""
        return not (self.settings and self.settings.tls_cert)

    def url(self, **parameters: str) -> str:
        """Return the URL of a session. These query parameters replace those of the endpoint."""
        return with_parameters(self.endpoint, parameters)

    def connect_options(self) -> dict[str, Any]:
        """Return what `connect` takes beside the URL."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {"timeout": self.timeout_s * 1000, "headers": headers}


def target_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --url and --token, which `open_target` takes, to a command."""
    token = click.option(
        "--token",
        envvar="APPLCTL_TOKEN",
        show_envvar=True,
        help="Token of the grid at --url. The grid of this machine gives this command one.",
    )
    url = click.option("--url", metavar="URL", help="Endpoint of another grid, like wss://grid.example.org.")
    return url(token(function))


@contextmanager
def open_target(url: str | None, token: str | None, token_s: float | None = None) -> Iterator[Target]:
    """Return the grid at a URL, or this machine's with a token that lives until the block ends, `token_s` at most.

    Raises NotRunning, and UsageError for a URL of another kind.
    """
    if url:
        yield Target(_endpoint(url), token or "", None)
        return
    settings = running_settings()
    with own_target(settings, token, token_s) as target:
        yield target


@contextmanager
def own_target(settings: Settings, token: str | None = None, token_s: float | None = None) -> Iterator[Target]:
    """Return the grid of an appliance that runs here; see `open_target`."""
    timeout_s = settings.queue_timeout + settings.launch_timeout
    if token:
        yield Target(settings.endpoint, token, settings, timeout_s)
        return
    with temporary_token(settings, token_s) as made:
        yield Target(settings.endpoint, made, settings, timeout_s)


def with_parameters(url: str, parameters: Mapping[str, str]) -> str:
    """Return a URL with query parameters added, in place of those of the same names."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True)) | dict(parameters)
    return urlunsplit(parts._replace(path=parts.path or "/", query=urlencode(query)))


@contextmanager
def stock_client(target: Target) -> Iterator[Playwright]:
    """Start the stock Playwright client until the block ends. Its errors in the block become SessionFailed."""
    from playwright.sync_api import Error, sync_playwright

    try:
        with client_environment(target), sync_playwright() as playwright:
            yield playwright
    except Error as error:
        raise failed(target, error.message) from error


def connect(playwright: Playwright, target: Target, browser: Browser, name: str) -> ConnectedBrowser:
    """Begin a session, which ends when the browser is closed."""
    kind: BrowserType = getattr(playwright, browser)
    return kind.connect(target.url(name=name), **target.connect_options())


def failed(target: Target, message: str) -> SessionFailed:
    """Return the error for a session that failed with a message of the client."""
    hint = "" if target.settings else "Is the URL right, and does the grid run?"
    what = message.partition("\nCall log:")[0].strip()  # which repeats the handshake line by line
    return SessionFailed(f"the session through {shown(target.endpoint)} failed: {what}", hint)


@contextmanager
def client_environment(target: Target) -> Iterator[None]:
    """Start the client's driver, a Node.js process, in the environment of the grid's own (machine/inherited.py).

    To reach another grid it may need what this shell has: a proxy, say.
    """
    if target.settings is None:
        yield
        return
    accepting = {} if target.is_verified else {"NODE_TLS_REJECT_UNAUTHORIZED": "0", "NODE_NO_WARNINGS": "1"}
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(inherited(before) | accepting)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def shown(endpoint: str) -> str:
    """Return an endpoint without what may hold a token: its query, its user and its password."""
    parts = urlsplit(endpoint)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))


def _endpoint(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise click.BadParameter("must be like ws://HOST:PORT or wss://HOST", param_hint="--url")
    return urlunsplit(parts._replace(scheme=_SCHEMES[parts.scheme], fragment=""))
