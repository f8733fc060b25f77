"""`reaching_client.py ENDPOINT MILLISECONDS URL…`: which URLs a page, and its client's requests, reach; as JSON.

They have so many milliseconds for each.
"""

import json
import sys

from playwright.sync_api import Browser, Error, Page, sync_playwright

TIMEOUT_MS = int(sys.argv[2])


def visit(page: Page, url: str) -> str:
    """Go there with the page: "reached", or the browser's word for why not."""
    try:
        page.goto(url, timeout=TIMEOUT_MS)
    except Error as error:
        return error.message.split(" at ")[0]
    return "reached"


def meet(browser: Browser, url: str) -> list[str]:
    """Return what a new page and its requests met: the error page of an earlier, refused URL may come late."""
    page = browser.new_page()
    met = [visit(page, url), request(page, url)]
    page.close()
    return met


def request(page: Page, url: str) -> str:
    """Ask for it by the page's requests, which the driver makes: "reached", or the driver's word for why not."""
    try:
        page.request.get(url, timeout=TIMEOUT_MS)
    except Error as error:
        return error.message.splitlines()[0]
    return "reached"


with sync_playwright() as playwright:
    browser = playwright.chromium.connect(sys.argv[1])
    print(json.dumps({url: meet(browser, url) for url in sys.argv[3:]}))
    browser.close()
