"""One client of a version tries each feature: `client.py BROWSER ENDPOINT SITE FOLDER` prints what became of each.

It runs in the virtual environment of its version, where nothing but that Playwright is installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, BrowserContext, Error, Page, Playwright, sync_playwright

YES, LACKS = "yes", "–"  # the second: clients of this version do not have it
CHROMIUM = "chromium"
TITLE = "A real page"
PATIENCE_MS = 20_000
OPTIONS = "x-playwright-launch-options"


class Place(NamedTuple):
    """Where a feature is tried."""

    browser: str
    endpoint: str
    site: str
    folder: Path


class Lacking(Exception):
    """The client itself does not have a feature."""


Trial = Callable[[Playwright, Place], None]
FEATURES: dict[str, Trial] = {}


def feature(name: str) -> Callable[[Trial], Trial]:
    """Enter the trial of a feature, in the order of the table."""

    def enter(trial: Trial) -> Trial:
        FEATURES[name] = trial
        return trial

    return enter


@contextmanager
def session(playwright: Playwright, place: Place, query: str = "", **options: object) -> Iterator[Browser]:
    """Connect to the grid, and leave it at the end."""
    browser = getattr(playwright, place.browser).connect(f"{place.endpoint}/{query}", **options)
    try:
        yield browser
    finally:
        browser.close()


def opened(context: Browser | BrowserContext, url: str) -> Page:
    """Return a new page that shows an address."""
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(url)
    return page


@feature("connect, pages, screenshots")
def pages(playwright: Playwright, place: Place) -> None:
    with session(playwright, place) as browser:
        page = opened(browser, place.site)
        assert page.title() == TITLE
        assert page.screenshot().startswith(b"\x89PNG")
        if place.browser == CHROMIUM:
            assert page.pdf().startswith(b"%PDF")


@feature("video")
def video(playwright: Playwright, place: Place) -> None:
    film = place.folder / "film.webm"
    with session(playwright, place) as browser:
        context = browser.new_context(record_video_dir=place.folder / "films")
        page = opened(context, place.site)
        page.wait_for_timeout(300)
        page.close()
        assert page.video, "the driver records none"
        page.video.save_as(film)
        context.close()
    assert_film(film)


def assert_film(file: Path) -> None:
    """Look at how a file begins: as all of Matroska do, of which WebM is a part."""
    assert file.read_bytes().startswith(b"\x1a\x45\xdf\xa3"), "the film is empty"


@feature("tracing")
def tracing(playwright: Playwright, place: Place) -> None:
    trace = place.folder / "trace.zip"
    with session(playwright, place) as browser:
        context = browser.new_context()
        context.tracing.start(screenshots=True, snapshots=True)
        opened(context, place.site).title()
        context.tracing.stop(path=trace)
    names = zipfile.ZipFile(trace).namelist()
    assert any(name.endswith(".trace") for name in names)
    assert any(name.endswith(".jpeg") for name in names), "the trace has no pictures"


@feature("HAR, in a `.zip`")
def har_in_a_zip(playwright: Playwright, place: Place) -> None:
    recording = recorded(playwright, place, "record.zip")
    assert place.site in urls_of(zipfile.ZipFile(recording).read("har.har"))


@feature("HAR, a plain file")
def har(playwright: Playwright, place: Place) -> None:
    recording = recorded(playwright, place, "record.har")
    if not recording.exists():  # the driver has sent what the trial before found in its archive
        raise Lacking
    assert place.site in urls_of(recording.read_bytes())


def recorded(playwright: Playwright, place: Place, name: str) -> Path:
    """Return where the client should have put a HAR."""
    with session(playwright, place) as browser:
        context = browser.new_context(record_har_path=place.folder / name)
        opened(context, place.site)
        context.close()
    return place.folder / name


def urls_of(recording: bytes) -> list[str]:
    """Return the addresses in a HAR."""
    return [entry["request"]["url"] for entry in json.loads(recording)["log"]["entries"]]


@feature("downloads and uploads")
def files(playwright: Playwright, place: Place) -> None:
    """One of more than 50 MB, which is sent in parts."""
    file = place.folder / "large.bin"
    with session(playwright, place) as browser:
        page = opened(browser, place.site)
        with page.expect_download() as download:
            page.click("#download")
        download.value.save_as(file)
        page.set_input_files("input", file)
        page.wait_for_function("document.title.length == 64")
        assert page.title() == hashlib.sha256(file.read_bytes()).hexdigest()


@feature("clipboard")
def clipboard(playwright: Playwright, place: Place) -> None:
    with session(playwright, place, "?isolation=browser") as browser:
        context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
        page = opened(context, place.site)
        page.evaluate("navigator.clipboard.writeText('copied')")
        assert page.evaluate("navigator.clipboard.readText()") == "copied"


@feature("routes, of WebSockets too")
def routes(playwright: Playwright, place: Place) -> None:
    with session(playwright, place) as browser:
        page = browser.new_page()
        page.route("**/routed", lambda route: route.fulfill(body="<title>Fulfilled</title>", content_type="text/html"))
        page.route(re.compile("/large"), lambda route: route.abort())
        page.route_web_socket("**/socket", lambda socket: socket.on_message(lambda said: socket.send(f"heard {said}")))
        page.goto(f"{place.site}routed")
        assert page.title() == "Fulfilled"
        assert page.evaluate("fetch('/large.bin').catch(error => error.name)") == "TypeError"
        answer = "const s = new WebSocket('/socket'); s.onopen = () => s.send('it'); s.onmessage = e => done(e.data)"
        assert page.evaluate(f"new Promise(done => {{ {answer} }})") == "heard it"


@feature("storage state")
def storage(playwright: Playwright, place: Place) -> None:
    with session(playwright, place) as browser:
        context = browser.new_context()
        opened(context, place.site).evaluate("localStorage.setItem('cart', 'full'), document.cookie = 'who=me'")
        second = browser.new_context(storage_state=context.storage_state())
        assert opened(second, place.site).evaluate("[localStorage.getItem('cart'), document.cookie]") == [
            "full",
            "who=me",
        ]


@feature("the client's own requests")
def requests(playwright: Playwright, place: Place) -> None:
    """`context.request`, which the driver makes."""
    with session(playwright, place) as browser:
        answer = browser.new_context().request.get(place.site)
        assert TITLE in answer.text()


@feature("a screencast of a page")
def screencast(playwright: Playwright, place: Place) -> None:
    with session(playwright, place) as browser:
        page = opened(browser, place.site)
        if not hasattr(page, "screencast"):
            raise Lacking
        film = place.folder / "cast.webm"
        page.screencast.start(path=film)
        page.wait_for_timeout(300)
        page.screencast.stop()
        assert_film(film)


@feature("`exposeNetwork`")
def expose_network(playwright: Playwright, place: Place) -> None:
    with own_server() as (url, callers), session(playwright, place, expose_network="<loopback>") as browser:
        assert opened(browser, url).title() == "Mine"
    assert callers <= descendants(), "the browser went to the loopback of its own machine"


@feature("launch options")
def launch_options(playwright: Playwright, place: Place) -> None:
    """A proxy, and for Chromium an argument that the grid allows by LAUNCH_ARGS."""
    with own_server() as (url, _):
        proxy = {"server": url.rstrip("/")}
        asked = {"proxy": proxy, "args": ["--user-agent=Compatible"] if place.browser == CHROMIUM else []}
        with session(playwright, place, headers={OPTIONS: json.dumps(asked)}) as browser:
            page = opened(browser, "http://elsewhere.test/")
            assert page.title() == "Mine"
            if place.browser == CHROMIUM:
                assert page.evaluate("navigator.userAgent") == "Compatible"


@feature("`isolation=browser`")
def isolation(playwright: Playwright, place: Place) -> None:
    with session(playwright, place, "?isolation=browser") as browser:
        if place.browser == CHROMIUM:
            browser.new_browser_cdp_session().send("Target.getTargets")
        assert opened(browser, place.site).title() == TITLE


@feature("`keep`, and to reconnect")
def keep(playwright: Playwright, place: Place) -> None:
    name = f"kept-{os.getpid()}"
    with session(playwright, place, f"?session={name}&keep=60") as browser:
        browser.new_page().set_content("<p>left here</p>")
    with session(playwright, place, f"?session={name}&keep=0") as browser:
        assert browser.contexts[0].pages[0].inner_text("p") == "left here"


@feature("CDP: `connect_over_cdp`")
def cdp(playwright: Playwright, place: Place) -> None:
    if place.browser != CHROMIUM:
        raise Lacking
    browser = playwright.chromium.connect_over_cdp(place.endpoint.replace("ws://", "http://"))
    assert opened(browser.contexts[0], place.site).title() == TITLE
    browser.close()


@contextmanager
def own_server() -> Iterator[tuple[str, set[int]]]:
    """Serve a page from here; yield its URL, and the processes that fetch it."""
    callers: set[int] = set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            callers.update(pids_of(self.client_address[1]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<title>Mine</title>")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}/", callers
    server.shutdown()
    server.server_close()
    assert callers, "nobody fetched it"


def pids_of(port: int) -> set[int]:
    """Return the processes that have a connection from this port of the machine."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}")}
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) in sockets:
                found.add(int(link.parts[2]))
        except OSError:  # it has ended, or is another account's
            continue
    return found


def descendants() -> set[int]:
    """Return this process and its children: one is the driver that speaks for this client."""
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    return {os.getpid(), *map(int, children)}


def tried(trial: Trial, playwright: Playwright, place: Place) -> str:
    """Return what becomes of a feature: YES, LACKS, or why not."""
    try:
        trial(playwright, place)
    except Lacking:
        return LACKS
    except (AssertionError, Error, OSError) as error:
        return f"no: {str(error).splitlines()[0] if str(error) else trial.__name__}"
    return YES


def main(browser: str, endpoint: str, site: str, folder: str) -> None:
    """Try all features, and print what became of each."""
    with sync_playwright() as playwright:
        place = Place(browser, endpoint, site, Path(folder))
        print(json.dumps({name: tried(trial, playwright, place) for name, trial in FEATURES.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
