"""What a client asks for beside a browser is honoured, refused in words, or told in its log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.names import Browser
from appliance.request_errors import BadRequest
from appliance.settings import config
from proxy import launch_options
from proxy.launch_options import Asked

OPTIONS = "x-playwright-launch-options"
NOTHING = Asked([], [])

# Recorded from @playwright/test with default settings, under the names of its versions.
STOCK = {
    "1.50": '{"handleSIGINT":false,"headless":true,"tracesDir":"/w/test-results/.playwright-artifacts-0/traces"}',
    "1.62": '{"handleSIGINT":false,"tracesDir":"/w/test-results/.playwright-artifacts-0/traces",'
    '"artifactsDir":"/w/test-results/.playwright-artifacts-0","headless":true}',
    "1.65": '{"handleSIGINT":false,"tracesDir":"/w/test-results/.playwright-artifacts-0/traces",'
    '"artifactsDir":"/w/test-results/.playwright-artifacts-0","headless":true}',
}


def read(options: Any = None, browser: Browser = Browser.CHROMIUM, **settings: Any) -> Asked:
    """Return what a client asks for by these options."""
    headers = {"x-playwright-proxy": "", "x-playwright-browser": str(browser)}
    if options is not None:
        headers[OPTIONS] = options if isinstance(options, str) else json.dumps(options)
    return launch_options.read(headers, browser, config.load(**settings))


@pytest.mark.parametrize("header", [None, *STOCK.values()], ids=["playwright", *STOCK])
@pytest.mark.parametrize("browser", Browser)
def test_a_stock_client_is_served_without_a_word(header: str | None, browser: Browser) -> None:
    assert read(header, browser) == NOTHING


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"args": ["--lang=de"]}, "Leave --lang out; LAUNCH_ARGS"),
        ({"args": "--lang=de"}, "must be a list of strings"),
        ({"args": [5]}, "must be a list of strings"),
        ({"proxy": "http://a"}, "must be an object with a server"),
        ({"slowMo": "5"}, "must be a number"),
        ({"channel": "chrome-canary"}, "Leave channel out"),
        ({"headless": False}, "HEADLESS=false"),
        ({"executablePath": "/usr/bin/x"}, "Leave executablePath out"),
        ({"env": {"TZ": "UTC"}}, "Leave env out"),
        ({"ignoreDefaultArgs": True}, "Leave ignoreDefaultArgs out"),
        ({"downloadsPath": "/tmp/x"}, "download.saveAs()"),
        ({"devtools": True}, "Leave devtools out"),
    ],
)
def test_an_option_that_reaches_the_grids_machine_or_says_nothing_is_refused(
    options: dict[str, Any], hint: str
) -> None:
    with pytest.raises(BadRequest) as raised:
        read(options)
    assert str(raised.value) == f"This grid cannot honour the launch option {next(iter(options))}."
    assert hint in raised.value.hint


def test_all_that_is_refused_is_named_at_once() -> None:
    with pytest.raises(BadRequest, match=r"launch options args, env\.") as raised:
        read({"args": ["--a"], "slowMo": 5, "env": {"A": "1"}})
    assert "LAUNCH_ARGS" in raised.value.hint
    assert "Leave env out" in raised.value.hint


@pytest.mark.parametrize(
    "options",
    [
        {"proxy": {"server": "http://a"}},
        {"slowMo": 50},
        {"channel": "chrome"},
        {"args": ["--lang=de", "--mute-audio"]},
        {"slowMo": 0.5, "proxy": {"server": "socks5://a"}},
    ],
)
def test_an_option_of_the_browsers_is_honoured_by_one_of_the_sessions_own(options: dict[str, Any]) -> None:
    settings = {"launch_args": "--lang,--mute-audio"}
    assert read(options, **settings) == Asked(list(options), [])


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({"args": ["--lang=de"]}, {"browser_args": "--mute-audio --lang=de"}),
        ({"headless": False}, {"headless": False}),
        ({"channel": "chromium-headless-shell"}, {}),
        ({"channel": "chrome"}, {"chromium_channel": "chrome"}),
        ({"executablePath": "/usr/bin/x"}, {"chromium_executable": "/usr/bin/x"}),
        ({"args": [], "env": {}, "proxy": None, "channel": "", "ignoreDefaultArgs": False, "slowMo": 0}, {}),
        ({"firefoxUserPrefs": {"a": 1}}, {}),  # Playwright Test sends it to every browser of a configuration
    ],
)
def test_an_option_that_the_browsers_have_anyway_is_honoured(options: dict[str, Any], settings: dict[str, Any]) -> None:
    assert read(options, **settings) == NOTHING


def test_preferences_are_refused_where_they_would_count() -> None:
    with pytest.raises(BadRequest, match="firefoxUserPrefs"):
        read({"firefoxUserPrefs": {"a": 1}}, Browser.FIREFOX)


def test_the_clients_log_names_what_has_no_effect() -> None:
    (line,) = read({"timeout": 1000, "chromiumSandbox": True, "a\r\nb: c": 1, "newer": {"x": 1}}).log_lines
    assert line.endswith(": timeout, chromiumSandbox, (an unprintable one), newer")


@pytest.mark.parametrize(
    "header",
    ["{", "[]", '"text"', "1", "null", "[" * 9000, "9" * 5000, '{"a": [1, "é"]', '{"a": NaN}', '{"slowMo": Infinity}'],
)
def test_options_that_are_no_json_object_are_refused(header: str) -> None:
    with pytest.raises(BadRequest, match="not a JSON object"):
        read(header)


@pytest.mark.parametrize("pattern", ["*", "<loopback>", "localhost"])
def test_a_network_of_the_clients_own_needs_a_browser_of_its_own(pattern: str) -> None:
    found = launch_options.read({"x-playwright-proxy": pattern}, Browser.CHROMIUM, config.load())
    assert found == Asked(["exposeNetwork"], [])


@pytest.mark.parametrize("name", ["reuse-context", "debug-controller", "network-tethering"])
def test_what_old_clients_asked_a_server_of_playwrights_own_for_is_refused(name: str) -> None:
    with pytest.raises(BadRequest, match=name):
        launch_options.read({f"x-playwright-{name}": "1"}, Browser.CHROMIUM, config.load())


def test_a_header_of_a_newer_client_is_told() -> None:
    found = launch_options.read({"x-playwright-new": "1"}, Browser.CHROMIUM, config.load())
    assert found.log_lines == ["header that this grid does not know: x-playwright-new"]
