"""A stock Python client that opens a page, says so, and keeps it until its standard input ends."""

import sys

from playwright.sync_api import sync_playwright

with sync_playwright() as playwright:
    page = playwright.chromium.connect(sys.argv[1]).new_page()
    print(page.evaluate("'connected'"), flush=True)
    sys.stdin.read()
