"""`applctl demo`: one real session through the grid, with the stock Playwright client."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from appliance.cli.command import command
from appliance.cli.connection import running_settings
from appliance.cli.output import Output
from appliance.cli.token_ledger import temporary_token
from appliance.errors import ApplianceError
from appliance.machine.inherited import inherited
from appliance.settings.config import Settings

PICTURE = "appliance-demo.png"
_URL = "http://appliance.test/"  # no server has it: the client itself answers
_PAGE = """<!doctype html>
<meta charset="utf-8"><title>Hello from the Playwright Appliance</title>
<style>body{font:24px system-ui,sans-serif;display:grid;place-items:center;height:90vh;background:#f4f7f4}</style>
<h1>Hello from the Playwright Appliance</h1>
"""


class DemoFailed(ApplianceError):
    """The session through the grid failed."""

    hint = "`applctl doctor` looks for the cause; `applctl logs` shows the logs."


@dataclass(frozen=True, slots=True)
class Demo:
    """What came of a session; `first_page_ms` counts from the connect to the loaded page."""

    endpoint: str
    browser: str
    browser_version: str
    title: str
    first_page_ms: int
    screenshot: str | None

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        return asdict(self)


@command("applctl demo", "applctl demo --json | jq .first_page_ms")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=PICTURE,
    show_default=True,
    help="File for the screenshot.",
)
def demo(out: Output, output: Path) -> dict[str, Any]:
    """Open a page through the grid, and take a picture.

    Uses the stock Playwright client. This command itself answers for the page, so the internet is not needed.
    """
    result = run_demo(running_settings(), output)
    out.show(describe(result))
    return result.as_dict()


def describe(result: Demo) -> str:
    """Describe a session in one line."""
    picture = f"; screenshot: {result.screenshot}" if result.screenshot else ""
    return (
        f"Opened “{result.title}” in {result.browser} {result.browser_version}, "
        f"{result.first_page_ms} ms after the connect{picture}"
    )


def run_demo(settings: Settings, output: Path | None = None) -> Demo:
    """Run one session of the default browser; `output` is the file for the screenshot. Raises DemoFailed."""
    from playwright.sync_api import Error, Page, sync_playwright  # here: a fifth of what each command takes to start

    timeout_ms = (settings.queue_timeout + settings.launch_timeout) * 1000
    try:
        with (
            _environment(settings),
            temporary_token(settings) as token,
            sync_playwright() as playwright,
        ):
            started = time.perf_counter()
            kind = getattr(playwright, settings.default_browser_type)
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            with kind.connect(settings.endpoint, timeout=timeout_ms, headers=headers) as browser:
                page: Page = browser.new_page()
                page.route(_URL, lambda route: route.fulfill(body=_PAGE, content_type="text/html; charset=utf-8"))
                page.goto(_URL)
                elapsed_ms = round((time.perf_counter() - started) * 1000)
                title = page.title()
                page.screenshot(path=output)
                version = browser.version
    except Error as error:
        raise DemoFailed(f"the session through {settings.endpoint} failed: {_short(error.message)}") from error
    except OSError as error:
        raise DemoFailed(f"the demo could not run: {error}") from error
    picture = str(output.absolute()) if output else None
    return Demo(settings.endpoint, settings.default_browser_type, version, title, elapsed_ms, picture)


@contextmanager
def _environment(settings: Settings) -> Iterator[None]:
    """Start the client's driver, a Node.js process, in the environment of the grid's own (machine/inherited.py).

    It does not verify the grid's certificate (see supervision/view.py).
    """
    accepting = {"NODE_TLS_REJECT_UNAUTHORIZED": "0", "NODE_NO_WARNINGS": "1"} if settings.tls_cert else {}
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(inherited(before) | accepting)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _short(message: str) -> str:
    """Drop the client's call log, which repeats the handshake line by line."""
    return message.partition("\nCall log:")[0].strip()
