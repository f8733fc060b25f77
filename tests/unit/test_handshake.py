"""Requests for a session are understood or refused, and only what a worker should see is forwarded."""

from __future__ import annotations

import pytest

from appliance.names import Browser, Isolation, Protocol
from appliance.request_errors import BadRequest
from appliance.settings import config
from proxy import handshake

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, section 1.3
AGENT = "Playwright/1.65.1 (x64; debian 12) python/3.11"
BASE = [("Host", "h"), ("Sec-WebSocket-Key", KEY), ("Sec-WebSocket-Version", "13"), ("User-Agent", AGENT)]


SETTINGS = config.load(default_browser_type="webkit", webkit_workers=1)


def parse(target: str = "/", *more: tuple[str, str]) -> handshake.Handshake:
    return handshake.parse([*BASE, *more], target, "10.0.0.1", SETTINGS)


def test_the_query_names_the_browser_before_the_header_and_the_default() -> None:
    header = ("x-playwright-browser", "firefox")
    assert parse("/?browser=chromium", header).request.browser == Browser.CHROMIUM
    assert parse("/", header).request.browser == Browser.FIREFOX
    assert parse().request.browser == Browser.WEBKIT


def test_the_user_agent_tells_the_version_and_one_that_does_not_suits_any() -> None:
    assert parse().request.minor == "1.65"
    other = [item for item in BASE if item[0] != "User-Agent"]
    assert handshake.parse(other, "/", "c", config.load()).request.minor == ""


def test_a_session_has_what_is_usual_in_the_pool_of_its_version_unless_it_asks() -> None:
    pools = "chromium:1 channel=chromium, chromium@1.62:1 isolation=browser channel=chrome"
    settings = config.load(default_browser_type="chromium", pools=pools)

    def asked(minor: str, channel: str, target: str = "/") -> Isolation:
        items = [*BASE[:-1], ("User-Agent", AGENT.replace("1.65", minor))]
        options = ("x-playwright-launch-options", f'{{"channel": "{channel}"}}')
        return handshake.parse([*items, options], target, "c", settings).request.isolation

    assert asked("1.65", "chromium") == Isolation.CONTEXT
    assert asked("1.65", "chrome") == Isolation.BROWSER, "the shared browser is another"
    assert asked("1.62", "chrome") == Isolation.BROWSER, "it is the default of that pool"
    assert asked("1.62", "chrome", "/?isolation=context") == Isolation.CONTEXT, "the shared browser is of that kind"


def test_options_are_compared_with_what_the_pool_has_that_will_serve_the_session() -> None:
    settings = config.load(default_browser_type="chromium", pools="chromium:1, chromium/browser:1 args=--mute-audio")
    options = ("x-playwright-launch-options", '{"args": ["--mute-audio"]}')
    with pytest.raises(BadRequest, match="args"):
        handshake.parse([*BASE, options], "/", "c", settings)
    asked = handshake.parse([*BASE, options], "/?isolation=browser", "c", settings)
    assert asked.request.isolation == Isolation.BROWSER


def test_a_cdp_session_has_a_chromium_of_its_own_whatever_the_defaults_are() -> None:
    cdp = parse("/cdp?name=n", ("Protocol", "x"))
    wanted = cdp.request
    assert (wanted.protocol, wanted.browser, wanted.isolation) == (Protocol.CDP, Browser.CHROMIUM, Isolation.BROWSER)
    assert (wanted.minor, wanted.name) == ("", "n")
    assert cdp.forwarded[-1] == handshake.CDP
    assert [name.lower() for name, _ in cdp.forwarded].count("protocol") == 1
    assert handshake.CDP not in parse("/", ("Protocol", "cdp")).forwarded


def test_a_worker_sees_the_drivers_headers_and_no_secrets() -> None:
    more = [
        ("Authorization", "Bearer secret"),
        ("Cookie", "secret=1"),
        ("X-Playwright-Proxy", "*"),
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
    ]
    sent = handshake.worker_request(parse("/?token=secret&name=n", *more).forwarded).decode()
    assert sent.startswith("GET /session HTTP/1.1\r\nHost: driver\r\n")
    assert sent.endswith("\r\n\r\n")
    for line in (f"Sec-WebSocket-Key: {KEY}", f"User-Agent: {AGENT}", "X-Playwright-Proxy: *"):
        assert line in sent.split("\r\n")
    assert "Sec-WebSocket-Extensions: permessage-deflate" in sent
    assert "secret" not in sent


def test_one_of_playwrights_headers_that_is_there_twice_is_refused() -> None:
    for more in (("x-playwright-launch-options", "{}"), ("X-Playwright-Launch-Options", '{"slowMo": 1}')):
        with pytest.raises(BadRequest, match=r"The header x-playwright-launch-options is there twice\."):
            parse("/", ("x-playwright-launch-options", '{"slowMo": 1}'), more)


NETWORK = ("x-playwright-proxy", "<loopback>")


@pytest.mark.parametrize(
    ("setting", "target", "headers", "isolation", "why"),
    [
        ("context", "/", [], "context", []),
        ("context", "/?isolation=browser", [], "browser", []),
        ("browser", "/", [], "browser", []),
        ("browser", "/?isolation=context", [], "context", []),
        ("context", "/", [NETWORK], "browser", ["a browser of its own, for exposeNetwork"]),
        ("context", "/?isolation=browser", [NETWORK], "browser", []),
        ("browser", "/", [NETWORK], "browser", []),
        ("context", "/?session=a&keep=9", [], "browser", ["a browser of its own, for a session to reconnect to"]),
        ("context", "/?session=a&keep=9&isolation=browser", [], "browser", []),
    ],
)
def test_a_session_has_what_it_asks_for_or_needs_or_what_is_usual(
    setting: str, target: str, headers: list[tuple[str, str]], isolation: str, why: list[str]
) -> None:
    wanted = handshake.parse([*BASE, *headers], target, "c", config.load(isolation=setting))
    assert (wanted.request.isolation, wanted.log_lines) == (isolation, why)
    assert (handshake.OWN_BROWSER in wanted.forwarded) == (isolation == Isolation.BROWSER)


def test_a_shared_browser_that_would_need_options_of_its_own_is_refused() -> None:
    with pytest.raises(BadRequest, match="A shared browser cannot have exposeNetwork"):
        parse("/?isolation=context", NETWORK)


def test_a_client_cannot_ask_a_driver_by_a_header_of_the_grids() -> None:
    asked = [("Isolation", "browser"), ("Protocol", "cdp"), ("Keep", "5f 9"), ("Visit", "5f 9")]
    asked += [("Session", "5f"), ("Look", "5f")]
    assert not {name.lower() for name, _ in asked} & {name.lower() for name, _ in parse("/", *asked).forwarded}


def test_a_session_to_reconnect_to_is_held_under_its_id_and_its_clients_visit_it() -> None:
    kept, other = parse("/?session=a&keep=300"), parse("/")
    assert (kept.can_be_kept, kept.request.kept_as, kept.keep_s) == (True, "a", 300)
    assert kept.claiming("5f") == (*kept.forwarded, ("session", "5f"), ("keep", "5f 300"))
    assert kept.visiting("5f") == (*kept.forwarded, ("visit", "5f 300"))
    assert not other.can_be_kept
    assert other.claiming("5f") == (*other.forwarded, ("session", "5f"))


def test_a_driver_sees_of_a_viewer_only_its_websocket_and_whom_it_looks_at() -> None:
    asked = [("Cookie", "appliance_token=secret"), ("Origin", "http://here"), ("Isolation", "browser")]
    seen = handshake.looking([*BASE, *asked], "5f")
    assert seen[-1] == ("look", "5f")
    assert {name.lower() for name, _ in seen} == {"sec-websocket-key", "sec-websocket-version", "user-agent", "look"}
    with pytest.raises(BadRequest, match=r"The WebSocket version must be 13\."):
        handshake.looking([], "5f")


@pytest.mark.parametrize(
    ("most", "seconds", "message"),
    [
        (300, 301, r"This grid keeps a session for 300 s at most\."),
        (0, 1, r"This grid keeps no sessions\."),
        (0, 0, r"This grid keeps no sessions\."),
    ],
)
def test_a_session_is_kept_for_no_longer_than_keep_max(most: int, seconds: int, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        handshake.parse(BASE, f"/?session=a&keep={seconds}", "c", config.load(keep_max=most))


@pytest.mark.parametrize(("limit", "asked", "is_granted"), [(0, 600, True), (600, 600, True), (599.5, 600, False)])
def test_a_session_may_be_shorter_than_the_grid_allows_but_not_longer(
    limit: float, asked: int, is_granted: bool
) -> None:
    settings = config.load(session_timeout=limit)
    if is_granted:
        granted = handshake.parse(BASE, f"/?timeout={asked}", "c", settings)
        assert (granted.request.timeout_s, granted.log_lines) == (600, ["ends after 600 s, as its URL says"])
    else:
        with pytest.raises(BadRequest, match=r"This grid ends sessions after 599\.5 s\."):
            handshake.parse(BASE, f"/?timeout={asked}", "c", settings)


def test_a_shared_browser_cannot_be_kept() -> None:
    with pytest.raises(BadRequest, match="A shared browser cannot have a session to reconnect to"):
        parse("/?isolation=context&session=a&keep=9")


def test_a_browser_that_is_none_is_refused() -> None:
    with pytest.raises(BadRequest, match="Unknown browser 'netscape'"):
        parse("/?browser=net%73cape")


@pytest.mark.parametrize(
    ("header", "values", "message"),
    [
        ("Sec-WebSocket-Version", ["8", "0", "x", "13, 8", None], "version must be 13"),
        (
            "Sec-WebSocket-Key",
            ["short", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25j", "é" * 24, "", None],
            "16 bytes in base64",
        ),
    ],
)
def test_a_version_or_key_that_is_wrong_is_refused(header: str, values: list[str | None], message: str) -> None:
    others = [item for item in BASE if item[0] != header]
    for value in values:
        with pytest.raises(BadRequest, match=message):
            handshake.parse([*others, *([(header, value)] if value is not None else [])], "/", "c", config.load())


@pytest.mark.parametrize(
    ("upgrade", "connection", "is_one"),
    [
        ("websocket", "Upgrade", True),
        ("WebSocket", "keep-alive, Upgrade", True),  # as Firefox writes it
        ("websocket, foo", "upgrade", True),
        ("websocket", "keep-alive", False),
        ("websocket", "upgraded", False),
        ("h2c", "Upgrade", False),
        ("", "", False),
    ],
)
def test_upgrade_and_connection_are_lists_of_tokens(upgrade: str, connection: str, is_one: bool) -> None:
    assert handshake.is_upgrade({"upgrade": upgrade, "connection": connection}) == is_one


def test_a_workers_answer_is_complete_with_its_headers_and_loses_no_byte_after_them() -> None:
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    assert handshake.parse_answer(head[:-1]) is None
    assert handshake.parse_answer(head + b"\x81\x02hi") == handshake.Answer(101, head, b"\x81\x02hi")
    assert handshake.with_log(head, ["a", "b"]) == (
        head[:-2] + b"x-playwright-debug-log: a\r\nx-playwright-debug-log: b\r\n\r\n"
    )
    with pytest.raises(ValueError):
        handshake.parse_answer(b"SSH-2.0-OpenSSH\r\n\r\n")


def test_a_line_of_the_log_is_one_header_whatever_is_in_it() -> None:
    head = handshake.with_log(b"HTTP/1.1 101 OK\r\n\r\n", ["session '日'\r\nSet-Cookie: a=b"])
    assert head == b"HTTP/1.1 101 OK\r\nx-playwright-debug-log: session '\\u65e5' Set-Cookie: a=b\r\n\r\n"
