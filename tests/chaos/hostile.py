"""A client that attacks the others: each act is one session, and returns what it got that it should not have."""

from __future__ import annotations

import asyncio
import http.client
import struct
from collections.abc import Awaitable, Callable

from playwright.async_api import Browser, Error, async_playwright

from tests.support.wire import UPGRADE

ACT_MAX_S = 60.0
LONG_NAME = "x" * 300  # longer than a file system takes
LARGE_MESSAGE_BYTES, LARGE_RESULT_BYTES = 101 << 20, 260 << 20  # the driver takes 100 MiB, and dies of the other
MASKED_TEXT, WIDE_LENGTH = 0x81, 0x80 | 127  # RFC 6455, section 5.2
REFUSED_CDP = ("Target.getTargets", "Tracing.start", "Browser.crash", "Browser.close")


def attack(act: str, endpoint: str, name: str) -> list[str]:
    """Do what an act is, in a session of that name; return what should have been refused."""
    if act == "large-message":
        return _send_large_message(endpoint, name)
    return asyncio.run(_in_a_session(ACTS[act], endpoint, name))


async def _in_a_session(act: Callable[[Browser], Awaitable[list[str]]], endpoint: str, name: str) -> list[str]:
    async with async_playwright() as playwright:
        try:
            async with asyncio.timeout(ACT_MAX_S):
                browser = await playwright.chromium.connect(f"{endpoint}/?name={name}")
                return await act(browser)
        except (Error, TimeoutError):  # another fault may take the session from it, as from any other
            return []


async def _bind(browser: Browser) -> list[str]:
    return [
        *await _granted("browser.bind to a port", browser.bind("chaos", host="127.0.0.1", port=0)),
        *await _granted("browser.bind", browser.bind("chaos")),
    ]


async def _use_devtools(browser: Browser) -> list[str]:
    page = await browser.new_page()
    session = await page.context.new_cdp_session(page)
    found = await _granted("newBrowserCDPSession", browser.new_browser_cdp_session())
    for method in REFUSED_CDP:
        found += await _granted(method, session.send(method))
    return found


async def _read_files(browser: Browser) -> list[str]:
    page = await browser.new_page()
    session = await page.context.new_cdp_session(page)
    found = await _granted("CDP's Page.navigate to a file", _navigate(session.send, "file:///etc/passwd"))
    for url in ("file:///etc/passwd", "view-source:file:///etc/passwd"):
        found += await _granted(url, page.goto(url))
    return found


async def _navigate(send: Callable[..., Awaitable[dict[str, str]]], url: str) -> None:
    answer = await send("Page.navigate", {"url": url})
    if "errorText" in answer:
        raise Error(answer["errorText"])


async def _create_long_names(browser: Browser) -> list[str]:
    """Do what an upload does, by the client's own channel: its files need not exist."""
    context = await browser.new_context()
    channel = context._impl_obj._channel
    await channel.createTempFiles(rootDirName=None, items=[{"name": LONG_NAME}])
    await browser.new_page()  # until the driver has tried
    return []


async def _ask_for_a_large_result(browser: Browser) -> list[str]:
    page = await browser.new_page()
    await page.evaluate(f"'x'.repeat({LARGE_RESULT_BYTES}).length && 'x'.repeat({LARGE_RESULT_BYTES})")
    return []


ACTS = {
    "bind": _bind,
    "devtools": _use_devtools,
    "file": _read_files,
    "long-name": _create_long_names,
    "large-result": _ask_for_a_large_result,
}


async def _granted(what: str, call: Awaitable[object]) -> list[str]:
    try:
        await call
    except Error:
        return []
    return [f"a hostile client was granted {what}"]


def _send_large_message(endpoint: str, name: str) -> list[str]:
    """Announce a message beyond the driver's limit, and send its beginning; no stock client need prepare it."""
    connection = http.client.HTTPConnection(endpoint.removeprefix("ws://"), timeout=ACT_MAX_S)
    try:
        connection.request("GET", f"/?name={name}", headers=UPGRADE)
        answer = connection.getresponse()
        if answer.status == http.HTTPStatus.SWITCHING_PROTOCOLS:
            head = struct.pack("!BBQ4x", MASKED_TEXT, WIDE_LENGTH, LARGE_MESSAGE_BYTES)
            connection.sock.sendall(head + bytes(1 << 16))
            while connection.sock.recv(1 << 16):
                continue
    except (OSError, http.client.HTTPException):
        return []
    finally:
        connection.close()
    return []
