"""A stock Python client that runs one session after another until its standard input ends; then it says how it went.

`looping_client.py ENDPOINT [SECONDS]` rests so long between two sessions.
"""

import json
import sys
import threading

from playwright.sync_api import Error, sync_playwright

over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
rest_s = float(sys.argv[2]) if sys.argv[2:] else 0.0
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
            over.wait(rest_s)
        except Error as error:
            errors.append(str(error))
            over.wait(0.2)
print(json.dumps({"served": served, "errors": errors}))
