"""A stock Python client that runs one session after another until its standard input ends; then it says how it went."""

import json
import sys
import threading

from playwright.sync_api import Error, sync_playwright

over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
served, errors = 0, []
with sync_playwright() as playwright:
    while not over.is_set():
        try:
            browser = playwright.chromium.connect(sys.argv[1])
            assert browser.new_page().evaluate("6 * 7") == 42
            browser.close()
            served += 1
            if served == 1:
                print("serving", flush=True)
        except Error as error:
            errors.append(str(error))
            over.wait(0.2)
print(json.dumps({"served": served, "errors": errors}))
