"""`reaching_client.py ENDPOINT URL…`: which URLs are reached by a page, and by its client's requests; as JSON."""

import json
import sys

from playwright.sync_api import Browser, Error, Page, sync_playwright


def visit(page: Page, url: str) -> str:
    """Go there with the page: "reached", or the browser's word for why not."""
    try:
        page.goto(url, timeout=20_000)
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
        page.request.get(url, timeout=20_000)
    except Error as error:
        return error.message.splitlines()[0]
    return "reached"


with sync_playwright() as playwright:
    browser = playwright.chromium.connect(sys.argv[1])
    print(json.dumps({url: meet(browser, url) for url in sys.argv[2:]}))
    browser.close()
