"""A stock Python client that says when it is connected, and evaluates each line that it is sent."""

import sys

from playwright.sync_api import sync_playwright

with sync_playwright() as playwright:
    browser = playwright.chromium.connect(sys.argv[1])
    page = browser.new_page()
    for line in sys.stdin:
        print(page.evaluate(line), flush=True)
    browser.close()
