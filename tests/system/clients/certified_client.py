"""`certified_client.py ENDPOINT URL CERTIFICATE KEY`: what a page and its requests get with a certificate."""

import sys

from playwright.sync_api import sync_playwright

endpoint, url, certificate, key = sys.argv[1:]
with sync_playwright() as playwright:
    browser = playwright.chromium.connect(endpoint)
    shown = {"origin": url, "certPath": certificate, "keyPath": key}
    context = browser.new_context(ignore_https_errors=True, client_certificates=[shown])
    page = context.new_page()
    page.goto(url, timeout=30_000)
    print(page.title())
    print(context.request.get(url, timeout=30_000).status)
    browser.close()
