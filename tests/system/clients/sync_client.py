"""A stock Python client, sync: page, screenshot, a large download and upload."""

import hashlib
import json
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

endpoint, url, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])

with sync_playwright() as playwright:
    browser = playwright.chromium.connect(endpoint)
    page = browser.new_page()
    page.goto(url)
    title = page.title()
    page.screenshot(path=folder / "page.png")
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(folder / "large.bin")
    page.set_input_files("input", folder / "large.bin")
    page.wait_for_function("document.title.length == 64")
    uploaded = page.title()
    browser.close()

downloaded = hashlib.sha256((folder / "large.bin").read_bytes()).hexdigest()
print(json.dumps({"title": title, "downloaded": downloaded, "uploaded": uploaded}))
