"""A stock client outside of the machines: python client.py ENDPOINT [URL...], with the token in TOKEN.

It opens a page on SITE, and prints as JSON what it saw there, and what became of each URL: fetched by the page, and
by the session's own requests. With HOLD_S it then stays for so long, and says so in a line before.
"""

import json
import os
import sys
import time

from playwright.sync_api import Error, sync_playwright

_ACTION_MS = 180_000  # under emulation
_REFUSED_MS = 20_000
_FETCH = "url => fetch(url, {mode: 'no-cors'}).then(() => 'reached', error => String(error))"

endpoint, urls = sys.argv[1], sys.argv[2:]
token = os.environ.get("TOKEN")


def requested(url: str) -> str:
    """Ask by the driver, which sends requests of its own."""
    try:
        page.request.get(url, timeout=_REFUSED_MS)
    except Error as error:
        return error.message.splitlines()[0]
    return "reached"


with sync_playwright() as playwright:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    browser = playwright.chromium.connect(endpoint, headers=headers, timeout=_ACTION_MS)
    page = browser.new_page()
    page.set_default_timeout(_ACTION_MS)
    if site := os.environ.get("SITE"):
        page.goto(site)
    else:
        page.set_content("<title>A page of the client's</title>")
    saw: dict[str, object] = {"title": page.title(), "version": browser.version}
    saw["fetched"] = {url: page.evaluate(_FETCH, url) for url in urls}
    saw["requested"] = {url: requested(url) for url in urls}
    print(json.dumps(saw), flush=True)
    if hold_s := float(os.environ.get("HOLD_S", 0)):
        deadline = time.monotonic() + hold_s
        while time.monotonic() < deadline:
            page.wait_for_timeout(500)  # a call to the grid, which fails with the reason when the session ends
    browser.close()
