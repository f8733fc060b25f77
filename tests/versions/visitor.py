"""A client of one session after another, each second one with its own browser: `visitor.py ENDPOINT SITE COUNT`."""

import sys

from playwright.sync_api import sync_playwright

endpoint, site, count = sys.argv[1:]

with sync_playwright() as playwright:
    for number in range(int(count)):
        browser = playwright.chromium.connect(f"{endpoint}/?isolation={('context', 'browser')[number % 2]}")
        page = browser.new_page()
        page.goto(site)
        assert page.title() == "A real page"
        browser.close()
