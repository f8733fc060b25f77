"""`applctl demo`: one real session through the grid, with the stock Playwright client."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from appliance.cli.client import connect, own_target, stock_client
from appliance.cli.command import command
from appliance.cli.connection import running_settings
from appliance.cli.output import Output
from appliance.files import save
from appliance.settings.config import Settings

PICTURE = "appliance-demo.png"
_URL = "http://appliance.test/"  # no server has it: the client itself answers
_PAGE = """<!doctype html>
<meta charset="utf-8"><title>Hello from the Playwright Appliance</title>
<style>body{font:24px system-ui,sans-serif;display:grid;place-items:center;height:90vh;background:#f4f7f4}</style>
<h1>Hello from the Playwright Appliance</h1>
"""


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

    Uses the stock Playwright client. The command serves the page itself, so no internet is needed.
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
    """Run one session of the default browser; `output` is the file for the screenshot. Raises SessionFailed."""
    browser = settings.default_browser_type
    with own_target(settings) as target, stock_client(target) as playwright:
        started = time.perf_counter()
        with connect(playwright, target, browser, "applctl-demo") as connected:
            page = connected.new_page()
            page.route(_URL, lambda route: route.fulfill(body=_PAGE, content_type="text/html; charset=utf-8"))
            page.goto(_URL)
            elapsed_ms = round((time.perf_counter() - started) * 1000)
            title, picture, version = page.title(), page.screenshot(), connected.version
    if output:
        save(picture, output)
    return Demo(settings.endpoint, browser, version, title, elapsed_ms, str(output.absolute()) if output else None)
