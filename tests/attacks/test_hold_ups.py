"""No call of one session holds up the driver, and with it the sessions of its neighbours."""

from __future__ import annotations

import base64
import functools
import re
import struct
from typing import Any

import pytest
from playwright.sync_api import Page, Playwright

from tests.support.appliance import Appliance
from tests.support.raw_client import RawClient
from tests.support.waiting import until

URL_PARTS = ("protocol", "username", "password", "hostname", "port", "pathname", "search", "hash")
NOTHING = {"value": {"v": "undefined"}, "handles": []}  # as the argument of an evaluation


def test_a_pattern_that_backtracks_for_ever_holds_up_nobody(
    grid: Appliance, level: str, site: str, neighbour: Page, clients: Playwright
) -> None:
    page = clients.chromium.connect(grid.endpoint + level).new_page()
    page.route(re.compile(r"(a+)+$"), lambda route: route.abort())
    page.goto(f"{site}/#{'a' * 40}!")
    page.goto(f"{site}/?{'a' * 40}!")
    assert neighbour.evaluate("6 * 7") == 42
    page.context.browser.close()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "pattern",
    [
        {"regexSource": "(a+)+$", "regexFlags": "i"},
        {"regexSource": "(?=a)(a+)+$", "regexFlags": ""},
        {"regexSource": "(a{1,1000}){1,1000}b", "regexFlags": ""},
        {"urlPattern": {**dict.fromkeys(URL_PARTS, "*"), "pathname": "((?:.+)+)b"}},
        {"glob": "**/" * 3000 + "b"},
        {"glob": "**/{{no glob"},
    ],
    ids=["flags", "look-ahead", "counts", "URLPattern", "glob", "none"],
)
def test_patterns_of_routes_that_take_too_long_hold_up_nobody(
    grid: Appliance, level: str, site: str, neighbour: Page, pattern: dict[str, Any]
) -> None:
    url = f"{site}/{'a' * 900}!"
    with RawClient(grid, level) as client:
        context = client.context()
        client.call(context, "newPage")
        client.call(context, "setNetworkInterceptionPatterns", patterns=[pattern])
        client.call(client.guid("Page"), "setWebSocketInterceptionPatterns", patterns=[pattern])
        frame = client.guid("Frame")
        client.call(frame, "goto", url="about:blank")
        client.call(frame, "evaluateExpression", expression=f"void new WebSocket({url!r})", arg=NOTHING)
        client.post({"id": 99, "guid": frame, "method": "goto", "params": {"url": url, "timeout": 0}, "metadata": {}})
        until(lambda: client.context() and {"Route", "WebSocketRoute"} <= set(client.guids), "the client is asked")
        assert neighbour.evaluate("6 * 7") == 42
    assert "had an error" not in grid.log("chromium-00")


def test_patterns_of_hars_and_cookies_that_take_too_long_hold_up_nobody(
    grid: Appliance, level: str, site: str, neighbour: Page
) -> None:
    with RawClient(grid, level) as client:
        context = client.context()
        client.call(context, "newPage")
        for pattern in ({"urlRegexSource": "(a+)+$", "urlRegexFlags": "i"}, {"urlGlob": "**/" * 3000 + "b"}):
            options = {"content": "omit", **pattern}
            answers = [client.call(one, "harStart", options=options) for one in (context, client.guid("Tracing"))]
            assert [answer for answer in answers if "harId" in answer], "up to 1.59, contexts record HARs themselves"
        assert client.call(client.guid("Frame"), "goto", url=f"{site}/{'a' * 900}!")["response"]
        client.call(context, "addCookies", cookies=[{"name": "a" * 900 + "!", "value": "x", "url": site}])
        for pattern in (
            {"nameRegexSource": "(a+)+$", "nameRegexFlags": "i"},
            {"nameRegexSource": "A{900}!", "nameRegexFlags": "i"},
        ):
            answer = client.call(context, "clearCookies", **pattern)
            assert ("takes too long" in answer.get("error", "")) == ("+" in pattern["nameRegexSource"])
        assert client.call(context, "cookies", urls=[]) == {"cookies": []}
        assert neighbour.evaluate("6 * 7") == 42


def test_routes_with_all_kinds_of_patterns_are_asked_about_what_they_match(
    grid: Appliance, level: str, site: str, clients: Playwright
) -> None:
    context = clients.chromium.connect(grid.endpoint + level).new_context(base_url=site)
    page = context.new_page()
    for pattern in (re.compile("/ONE", re.IGNORECASE), re.compile("/two(?!2)"), "**/three?", "four"):
        context.route(pattern, lambda route: route.fulfill(body="routed"))
    page.route_web_socket(re.compile("FIVE", re.IGNORECASE), lambda ws: ws.send("5"))
    page.goto(site)
    answers = "names => Promise.all(names.map(name => fetch(name).then(got => got.text())))"
    assert page.evaluate(answers, ["/one", "/two", "/three?", "/four"]) == ["routed"] * 4
    assert "routed" not in page.evaluate(answers, ["/two2", "/"])
    asked = "() => new Promise(done => new WebSocket('ws://localhost/five').onmessage = got => done(got.data))"
    assert page.evaluate(asked) == "5"
    context.browser.close()  # type: ignore[union-attr]


def test_a_picture_that_would_take_all_memory_is_refused_to_its_session_alone(
    grid: Appliance, level: str, neighbour: Page
) -> None:
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 6, 0, 0, 0)
    picture = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + b"IHDR" + header + bytes(4)
    with RawClient(grid, level) as client:
        client.call(client.context(), "newPage")
        expected = base64.b64encode(picture).decode()
        answer = client.call(client.guid("Page"), "expectScreenshot", expected=expected, isNot=False, timeout=30_000)
        assert "up to 25 megapixels" in answer["error"]
    assert neighbour.evaluate("6 * 7") == 42


def test_a_screenshot_that_is_compared_is_refused_if_it_is_too_large(grid: Appliance, neighbour: Page) -> None:
    with RawClient(grid) as client:
        client.call(client.context(viewport={"width": 9000, "height": 3000}), "newPage")
        call = {"id": 99, "guid": client.guid("Page"), "method": "expectScreenshot", "metadata": {"timeout": 5000}}
        answer = client.send(call | {"params": {"isNot": False, "timeout": 5000}})
        assert "up to 25 megapixels on this grid. These have 9000x3000 pixels" in "".join(answer["log"])
    assert neighbour.evaluate("6 * 7") == 42


def test_a_selector_that_takes_for_ever_is_refused_to_its_session_alone(
    grid: Appliance, level: str, neighbour: Page
) -> None:
    long = " >> ".join(["a"] * 300_000)  # it would hold up all sessions of the worker for half a minute
    with RawClient(grid, level) as client:
        client.call(client.context(), "newPage")
        frame, page = client.guid("Frame"), client.guid("Page")
        mask = [{"frame": {"guid": frame}, "selector": long}]
        answers = [
            client.call(frame, "querySelector", selector=long),
            client.call(frame, "dragAndDrop", source="a", target=long, timeout=100),
            client.call(page, "screenshot", mask=mask, timeout=100),
            client.call(page, "expectScreenshot", locator=mask[0], isNot=False),
        ]
        assert {answer["error"] for answer in answers} == {"A selector has at most 50000 characters on this grid."}
        assert "error" not in client.call(page, "addInitScript", source="// " + long)
    assert neighbour.evaluate("6 * 7") == 42


def test_headers_and_snapshots_that_take_for_ever_are_refused_to_their_session_alone(
    grid: Appliance, level: str, neighbour: Page
) -> None:
    headers = [{"name": f"x-{number}", "value": "x"} for number in range(50_000)]
    snapshot = {"value": {"s": "- " + "\n  ".join(f"key{number}: x" for number in range(30_000))}, "handles": []}
    with RawClient(grid, level) as client:
        context = client.context()
        client.call(context, "newPage")
        frame = client.guid("Frame")
        answers = [
            client.call(context, "setExtraHTTPHeaders", headers=headers),
            client.call(client.guid("Browser"), "newContext", extraHTTPHeaders=headers),
            client.call(client.guid("APIRequestContext"), "fetch", url="http://localhost:1/", headers=headers),
        ]
        assert {answer["error"] for answer in answers} == {"A call has at most 1000 headers on this grid."}
        assert client.call(context, "setExtraHTTPHeaders", headers=headers[:1000]) == {}
        answer = client.call(frame, "expect", expression="to.match.aria", expectedValue=snapshot, isNot=False)
        assert "at most 50000 characters on this grid" in answer["error"]
    assert neighbour.evaluate("6 * 7") == 42


def test_a_certificate_that_takes_an_hour_to_be_opened_is_refused(grid: Appliance, neighbour: Page) -> None:
    file = pfx_of_many_rounds()
    certificate = {"origin": "https://localhost", "passphrase": "x", "pfx": base64.b64encode(file).decode()}
    with RawClient(grid) as client:
        answer = client.call(client.guid("Browser"), "newContext", clientCertificates=[certificate])
        assert "takes longer than 2 seconds" in answer["error"]
    assert neighbour.evaluate("6 * 7") == 42


def pfx_of_many_rounds() -> bytes:
    """Return a PKCS #12 file (RFC 7292) without content, whose checksum is said to take 2^31 rounds."""

    def der(tag: int, *parts: bytes) -> bytes:
        content = b"".join(parts)
        return bytes([tag, len(content)]) + content  # as long as that is less than 128

    sequence, octets, number = (functools.partial(der, tag) for tag in (0x30, 0x04, 0x02))
    data = bytes.fromhex("06092a864886f70d010701")
    sha256 = sequence(bytes.fromhex("0609608648016503040201"), b"\x05\x00")
    content = sequence(data, der(0xA0, octets(sequence())))
    checksum = sequence(sequence(sha256, octets(bytes(32))), octets(bytes(8)), number(b"\x7f\xff\xff\xff"))
    return sequence(number(b"\x03"), content, checksum)


def test_a_number_that_is_too_large_is_refused_to_its_session_alone(
    grid: Appliance, level: str, neighbour: Page
) -> None:
    with RawClient(grid, level) as client:
        context = client.context()
        client.call(context, "newPage")
        page = client.guid("Page")
        for clicks in (2**31, 1e308):
            answer = client.call(page, "mouseClick", x=1, y=1, clickCount=clicks)
            assert answer["error"] == "clickCount is at most 1000 on this grid."
        film = {"size": {"width": 10**6, "height": 10**6}}
        assert "recordVideo.size.width" in client.call(client.guid("Browser"), "newContext", recordVideo=film)["error"]
        assert client.call(page, "mouseClick", x=1, y=1, clickCount=3) == {}
    assert neighbour.evaluate("6 * 7") == 42
