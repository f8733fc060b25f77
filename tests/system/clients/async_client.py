"""A stock Python client, async: page, screenshot, a large download and upload."""

import asyncio
import hashlib
import json
import sys
from pathlib import Path

from playwright.async_api import async_playwright

endpoint, url, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])


async def main() -> dict[str, str]:
    """Use one session."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect(endpoint)
        page = await browser.new_page()
        await page.goto(url)
        title = await page.title()
        await page.screenshot(path=folder / "page.png")
        async with page.expect_download() as download:
            await page.click("#download")
        await (await download.value).save_as(folder / "large.bin")
        await page.set_input_files("input", folder / "large.bin")
        await page.wait_for_function("document.title.length == 64")
        uploaded = await page.title()
        await browser.close()
    downloaded = hashlib.sha256((folder / "large.bin").read_bytes()).hexdigest()
    return {"title": title, "downloaded": downloaded, "uploaded": uploaded}


print(json.dumps(asyncio.run(main())))
