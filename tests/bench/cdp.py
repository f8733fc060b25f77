"""`make bench-cdp`: a CDP client's connect to the grid beside one to a browser on this machine, in turn."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from contextlib import ExitStack

import click
from playwright.sync_api import Playwright, sync_playwright

from appliance.machine import browsers
from appliance.names import Browser
from appliance.settings import config
from tests.support.appliance import Appliance, free_port
from tests.support.waiting import until

REST_S = 0.5  # so that neither measures what the other, or the reserve, is still busy with
LOCAL, RESERVED, LAUNCHED = "local", "grid, from the reserve", "grid, launched"


def connect(playwright: Playwright, url: str) -> float:
    """Return the seconds until a client has its page; it is left as it was found."""
    time.sleep(REST_S)
    started = time.perf_counter()
    browser = playwright.chromium.connect_over_cdp(url)
    assert browser.contexts[0].pages
    taken_s = time.perf_counter() - started
    browser.close()
    return taken_s


def local_browser(playwright: Playwright, to_be_closed: ExitStack) -> str:
    """Launch a browser with a debugging port on loopback; return its address."""
    port, root = free_port(), os.geteuid() == 0
    context = playwright.chromium.launch_persistent_context(
        to_be_closed.enter_context(tempfile.TemporaryDirectory()),
        executable_path=browsers.find(Browser.CHROMIUM, config.load()).path,
        args=["--disable-gpu", f"--remote-debugging-port={port}"],
        chromium_sandbox=not root,
    )
    to_be_closed.callback(context.close)
    return f"http://127.0.0.1:{port}"


@click.command()
@click.option("--rounds", default=30, show_default=True, help="Connects, each way.")
def main(rounds: int) -> None:
    """Measure on this machine, which should do nothing else meanwhile."""
    with ExitStack() as to_be_closed:
        grids = {
            name: to_be_closed.enter_context(Appliance(MAX_LIFETIME_SESSIONS=0, RESERVE_BROWSERS=reserve))
            for name, reserve in ((RESERVED, 1), (LAUNCHED, 0))
        }
        playwright = to_be_closed.enter_context(sync_playwright())
        urls = {name: grid.endpoint.replace("ws:", "http:") for name, grid in grids.items()}
        urls[LOCAL] = local_browser(playwright, to_be_closed)
        found: dict[str, list[float]] = {name: [] for name in (LOCAL, RESERVED, LAUNCHED)}
        for _ in range(rounds):
            for name, taken_s in found.items():
                taken_s.append(connect(playwright, urls[name]))
                until(lambda: not any(grid.state.sessions() for grid in grids.values()), "the session has ended")
    usual = statistics.median(found[LOCAL])
    for name, taken_s in found.items():
        median = statistics.median(taken_s)
        click.echo(f"{name:24}{median * 1000:10.1f} ms{median / usual:8.2f}")


if __name__ == "__main__":
    main()
