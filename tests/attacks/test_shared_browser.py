"""Sessions that share a browser cannot use what is the browser's to reach each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright import async_api
from playwright.async_api import async_playwright
from playwright.sync_api import Browser, CDPSession, Error, Page, Playwright

from tests.support.appliance import Appliance
from tests.support.raw_client import RawClient
from tests.support.waiting import until

BINDING = pytest.mark.skipif(not hasattr(Browser, "bind"), reason="clients before 1.59 have no browser.bind()")
SENTENCE = "This browser is shared: .* need isolation=browser in the URL|This grid does not allow browser.bind"


@pytest.fixture(scope="module")
def browser(grid: Appliance, clients: Playwright) -> Browser:
    return clients.chromium.connect(grid.endpoint)


@pytest.fixture
def page(browser: Browser, site: str) -> Iterator[Page]:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(site)
        yield page


@pytest.fixture
def cdp(page: Page) -> CDPSession:
    return page.context.new_cdp_session(page)


@pytest.mark.parametrize(
    "call",
    [
        lambda browser: browser.new_browser_cdp_session(),
        lambda browser: browser.start_tracing(),
        lambda browser: browser.stop_tracing(),
        pytest.param(lambda browser: browser.bind("x"), marks=BINDING),
        pytest.param(lambda browser: browser.bind("x", host="127.0.0.1", port=0), marks=BINDING),
        pytest.param(lambda browser: browser.unbind(), marks=BINDING),
    ],
    ids=["DevTools", "start_tracing", "stop_tracing", "pipe", "listener", "unbind"],
)  # fmt: skip
def test_a_session_is_refused_what_is_the_browsers(browser: Browser, call: object) -> None:
    with pytest.raises(Error, match=SENTENCE):
        call(browser)  # type: ignore[operator]


def test_a_session_is_refused_a_reused_context(grid: Appliance) -> None:
    with RawClient(grid) as client:
        assert "isolation=browser" in client.call(client.guid("Browser"), "newContextForReuse")["error"]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("Target.getTargets", {}),
        ("Target.attachToBrowserTarget", {}),
        ("Target.setDiscoverTargets", {"discover": True}),
        ("Target.sendMessageToTarget", {"message": "{}"}),
        ("Target.getTargetInfo", {"targetId": "1"}),
        ("Browser.close", {}),
        ("Browser.crash", {}),
        ("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": "/tmp"}),
        ("Page.setDownloadBehavior", {"behavior": "allow", "downloadPath": "/tmp"}),
        ("Tracing.start", {}),
        ("Tethering.bind", {"port": 4711}),
        ("SystemInfo.getInfo", {}),
        ("Extensions.loadUnpacked", {"path": "/tmp"}),
        ("Memory.simulatePressureNotification", {"level": "critical"}),
    ],
)
def test_a_pages_devtools_do_not_reach_beyond_it(cdp: CDPSession, method: str, params: dict[str, object]) -> None:
    with pytest.raises(Error, match=SENTENCE):
        cdp.send(method, params)


def test_a_pages_devtools_read_no_cookies_of_another_session(grid: Appliance, cdp: CDPSession) -> None:
    with RawClient(grid) as victim:
        cookie = {"name": "a", "value": "SECRET", "url": "https://site.test"}
        victim.call(victim.context(), "addCookies", cookies=[cookie])
        for command in ("Storage.getCookies", "Network.getAllCookies"):
            assert "SECRET" not in str(cdp.send(command))


@pytest.mark.parametrize("command", ["getCookies", "setCookies", "clearCookies"])
def test_a_browser_context_that_a_devtools_command_names_is_refused(cdp: CDPSession, command: str) -> None:
    context = cdp.send("Target.getTargetInfo")["targetInfo"]["browserContextId"]
    for named in (context, context[::-1]):
        with pytest.raises(Error, match=r"about its own browser context\. Leave browserContextId out"):
            cdp.send(f"Storage.{command}", {"browserContextId": named, "cookies": []})


def test_page_level_devtools_go_on_working(page: Page, cdp: CDPSession) -> None:
    conditions = {"offline": False, "latency": 1, "downloadThroughput": 10**6, "uploadThroughput": 10**6}
    cdp.send("Network.emulateNetworkConditions", conditions)
    cdp.send("Emulation.setCPUThrottlingRate", {"rate": 2})
    cdp.send("Performance.enable")
    assert cdp.send("Performance.getMetrics")["metrics"]
    assert cdp.send("Page.captureScreenshot")["data"]
    assert cdp.send("Runtime.evaluate", {"expression": "6 * 7"})["result"]["value"] == 42
    assert cdp.send("Accessibility.getFullAXTree")["nodes"]
    cdp.send("HeapProfiler.collectGarbage")
    cdp.send("Profiler.enable")
    assert cdp.send("Browser.getVersion")["product"]
    assert cdp.send("Target.getTargetInfo")["targetInfo"]["url"] == page.url


def test_a_virtual_authenticator_works_by_devtools(cdp: CDPSession) -> None:
    cdp.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "usb", "hasResidentKey": True, "hasUserVerification": True}
    assert cdp.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]


def test_a_screencast_works_by_devtools(page: Page, cdp: CDPSession) -> None:
    frames: list[object] = []
    cdp.on("Page.screencastFrame", lambda frame: frames.append(frame))
    cdp.send("Page.startScreencast", {"format": "jpeg"})
    until(lambda: page.evaluate("document.body.append('more')") or frames, "a frame comes")


def test_a_pdf_comes_as_a_stream_by_devtools(cdp: CDPSession) -> None:
    stream = cdp.send("Page.printToPDF", {"transferMode": "ReturnAsStream"})["stream"]
    assert cdp.send("IO.read", {"handle": stream, "size": 8})["data"]
    cdp.send("IO.close", {"handle": stream})


def test_coverage_works_by_devtools(page: Page, cdp: CDPSession) -> None:
    for command in ("DOM.enable", "CSS.enable", "CSS.startRuleUsageTracking", "Profiler.enable"):
        cdp.send(command)
    cdp.send("Profiler.startPreciseCoverage", {"callCount": True, "detailed": True})
    page.reload()
    assert "result" in cdp.send("Profiler.takePreciseCoverage")
    assert "ruleUsage" in cdp.send("CSS.stopRuleUsageTracking")


def test_a_session_finds_an_empty_clipboard(grid: Appliance, clients: Playwright, site: str) -> None:
    pasted = []
    for text in ("password", ""):
        browser = clients.chromium.connect(grid.endpoint)
        page = browser.new_page()
        page.set_content(f"<input value='{text}'><textarea></textarea>")
        if text:
            page.focus("input")
            page.keyboard.press("Control+A")
            page.keyboard.press("Control+C")
        page.focus("textarea")
        page.keyboard.press("Control+V")
        pasted.append(page.input_value("textarea"))
        browser.close()
    assert pasted == ["password", ""]


READ = ["clipboard-read", "clipboard-write"]


def copy(browser: Browser, site: str, text: str = "password") -> Page:
    """Let a session put a text on the clipboard."""
    page = browser.new_context(permissions=READ).new_page()
    page.goto(site)
    page.evaluate("text => navigator.clipboard.writeText(text)", text)
    assert page.evaluate("navigator.clipboard.readText()") == text
    return page


def close_page(page: Page) -> None:
    page.close()


def close_context(page: Page) -> None:
    page.context.close()


def hang(page: Page) -> None:
    page.evaluate("setTimeout(() => { for (;;); }, 0)")


@pytest.mark.parametrize("leave", [close_page, close_context, hang])
def test_a_session_leaves_an_empty_clipboard_however_its_page_ends(
    leave: Callable[[Page], None], grid: Appliance, clients: Playwright, site: str
) -> None:
    browser = clients.chromium.connect(grid.endpoint)
    leave(copy(browser, site))
    browser.close()
    later = clients.chromium.connect(grid.endpoint)
    page = later.new_context(permissions=READ).new_page()
    page.goto(site)
    assert page.evaluate("navigator.clipboard.readText()") == ""
    later.close()


def test_a_session_cannot_keep_the_clipboard_of_an_earlier_one_from_being_emptied(
    grid: Appliance, clients: Playwright, site: str
) -> None:
    browser = clients.chromium.connect(grid.endpoint)
    copy(browser, site)
    browser.close()
    with ThreadPoolExecutor() as thread:
        assert thread.submit(asyncio.run, read_while_another_page_is_busy(grid.endpoint, site)).result(60) == ""


async def read_while_another_page_is_busy(endpoint: str, site: str) -> str:
    """Read the clipboard by a page of whose opening the client has not been told yet."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect(endpoint)
        busy = await browser.new_context()
        await busy.add_init_script(
            "setTimeout(() => { const from = Date.now(); while (Date.now() - from < 5000); }, 0)"
        )
        reading = await browser.new_context(permissions=READ)
        pages: asyncio.Queue[async_api.Page] = asyncio.Queue()
        for context in (busy, reading):
            context.on("page", pages.put_nowait)
        opening = [asyncio.ensure_future(busy.new_page())]
        await pages.get()
        opening.append(asyncio.ensure_future(reading.new_page()))
        page = await pages.get()
        await page.goto(site)
        found: str = await page.evaluate("navigator.clipboard.readText()")
        await asyncio.gather(*opening)
        return found
