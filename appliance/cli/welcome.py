"""What a user needs to know when the grid is up: the endpoint, how to connect, how to stop."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from appliance.names import minor_version

_TEXT = """
The grid is ready:  {endpoint}
{others}{access}
Python                              pip install 'playwright=={minor}.*'

    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.{browser}.connect("{endpoint}")
        page = browser.new_page()
        page.goto("https://example.com")
        print(page.title())

Node.js                             npm install playwright-core@{minor}

    const {{ {browser} }} = require('playwright-core');

    (async () => {{
      const browser = await {browser}.connect('{endpoint}');
      const page = await browser.newPage();
      await page.goto('https://example.com');
      console.log(await page.title());
      await browser.close();
    }})();

Sessions share warm browsers, each with contexts of its own. For users who do not trust each other, add
?isolation=browser to the endpoint, or set ISOLATION=browser for all.

Dashboard  {dashboard}
Status     {applctl} status
Logs       {applctl} logs -f
Stop       {applctl} down{or_make}"""


_OTHERS = """From elsewhere:     {endpoint}
"""

_ACCESS = """
Clients need a token in place of TOKEN: {applctl} token create NAME
"""


def text(endpoint: str, browser: str, version: str, *, for_others: str, wants_token: bool) -> str:
    """Return the text. `for_others` is the endpoint for other machines, "" if they have the same or none.

    `version` is the Playwright version that clients need.
    """
    or_make = ", or make down" if Path("Makefile").is_file() else ""
    program = _program()
    query = "/?token=TOKEN" if wants_token else ""
    return _TEXT.format(
        endpoint=endpoint + query,
        dashboard=f"http{endpoint.removeprefix('ws')}/dashboard",
        others=_OTHERS.format(endpoint=for_others + query) if for_others else "",
        access=_ACCESS.format(applctl=program) if wants_token else "",
        browser=browser,
        minor=minor_version(version),
        applctl=program,
        or_make=or_make,
    )


def _program() -> str:
    """Return what to type for `applctl` here: a virtual environment is seldom on the PATH."""
    if shutil.which("applctl"):
        return "applctl"
    return os.path.relpath(Path(sys.executable).with_name("applctl"))
