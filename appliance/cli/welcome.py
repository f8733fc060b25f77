"""What a user needs to know when the grid is up: the endpoint, how to connect, how to stop."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from appliance.models import minor_version

_TEXT = """
The grid is ready:  {endpoint}
{access}
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

What runs     {applctl} status
What it says  {applctl} logs -f
Stop it       {applctl} down{or_make}"""


_GUARDED = """
Clients need a token in place of TOKEN: {applctl} token create NAME
"""


def text(endpoint: str, browser: str, version: str, *, wants_token: bool) -> str:
    """Give the text for an endpoint, a browser, and the Playwright version that clients must have."""
    or_make = ", or make down" if Path("Makefile").is_file() else ""
    program = _program()
    return _TEXT.format(
        endpoint=f"{endpoint}/?token=TOKEN" if wants_token else endpoint,
        access=_GUARDED.format(applctl=program) if wants_token else "",
        browser=browser,
        minor=minor_version(version),
        applctl=program,
        or_make=or_make,
    )


def _program() -> str:
    """Give what to type for `applctl` here: a virtual environment's programs are seldom on the path."""
    if shutil.which("applctl"):
        return "applctl"
    return os.path.relpath(Path(sys.executable).with_name("applctl"))
