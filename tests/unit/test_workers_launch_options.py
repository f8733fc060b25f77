"""What the driver is told."""

from pathlib import Path
from typing import Any

import pytest

from appliance.names import MARKER, Browser
from appliance.settings.config import Settings
from workers.launch_options import CHROMIUM_ARGS, OWN_BROWSER_ARGS, driver_environment, launch_options

PROGRAM = Path("/opt/browser")


def options_of(sandbox: bool = True, **settings: Any) -> dict[str, Any]:
    return launch_options(Settings(**settings), PROGRAM, Path("/run/w/driver.sock"), sandbox)


def test_the_headless_shell_is_launched_by_its_channel_on_the_given_socket() -> None:
    options = options_of(launch_timeout=7)
    assert options["channel"] == "chromium-headless-shell"
    assert options["executablePath"] == "/opt/browser"
    assert (options["port"], options["wsPath"]) == ("/run/w/driver.sock", "/session")
    assert "host" not in options
    assert options["timeout"] == 7000
    assert options["headless"] is True


def test_chromium_with_a_window_is_not_the_headless_shell() -> None:
    assert options_of(headless=False)["channel"] == "chromium"


@pytest.mark.parametrize("sandbox", [True, False])
def test_the_sandbox_is_chromiums_and_playwrights_to_switch(sandbox: bool) -> None:
    options = options_of(sandbox)
    assert options["chromiumSandbox"] is sandbox
    assert "--no-sandbox" not in options["args"]


def test_arguments_of_the_settings_follow_those_of_the_grid() -> None:
    options = options_of(browser_args="--lang=de '--user-agent=a b'")
    assert options["args"] == [*CHROMIUM_ARGS, "--lang=de", "--user-agent=a b"]


@pytest.mark.parametrize("name", ["chromium-headless-shell", "headless_shell"])
def test_a_sessions_own_headless_shell_is_started_with_less(name: str) -> None:
    options = launch_options(Settings(), Path("/opt") / name, Path("/run/w/driver.sock"), True)
    assert options["ownArgs"] == list(OWN_BROWSER_ARGS)
    assert not set(OWN_BROWSER_ARGS) & set(options["args"])


def test_a_whole_chromium_is_started_for_a_session_as_it_is_to_be_shared() -> None:
    assert options_of(headless=False)["ownArgs"] == []


@pytest.mark.parametrize(
    ("browser", "channel", "named"),
    [(Browser.FIREFOX, "firefox", None), (Browser.FIREFOX, "moz-firefox", "moz-firefox")],
)
def test_only_a_stock_firefox_is_named_as_a_channel(browser: Browser, channel: str, named: str | None) -> None:
    options = options_of(browser_type=browser, firefox_channel=channel)
    assert options.get("channel") == named
    assert options["args"] == []
    assert "chromiumSandbox" not in options


def environment_of(given: dict[str, str], **settings: Any) -> dict[str, str]:
    return driver_environment(given, Settings(**settings), Path("/run/w"), Path("/run/w/tmp"), Path("/run/cache"))


def test_the_browser_does_not_learn_the_appliances_settings() -> None:
    environment = environment_of({"PATH": "/bin", "REDIS_URL": "redis://:secret@db", "HOST": "0.0.0.0", "LANG": "C"})
    place = {"LANG": "C.UTF-8", "LANGUAGE": "en_US", "TZ": "UTC"}
    added = {"TMPDIR": "/run/w/tmp", MARKER: "/run/w", "NODE_COMPILE_CACHE": "/run/cache"}
    assert environment == {"PATH": "/bin", **place, **added}


def test_browsers_get_the_variables_of_the_settings_but_not_those_a_worker_lives_by() -> None:
    environment = environment_of({"PATH": "/bin"}, browser_env="DEBUG=pw:browser TMPDIR=/tmp 'A=b c=d'")
    assert (environment["DEBUG"], environment["A"], environment["TMPDIR"]) == ("pw:browser", "b c=d", "/run/w/tmp")


def test_chromium_is_told_a_language_that_is_not_its_own() -> None:
    assert not any("lang" in one for one in options_of()["args"])
    assert options_of(browser_language="de-DE")["args"][-2:] == ["--lang=de-DE", "--accept-lang=de-DE"]


def test_the_proxy_is_playwrights_launch_option() -> None:
    assert "proxy" not in options_of()
    named = options_of(browser_proxy="http://me:p%3Aw@[fd00::1]:3128", browser_proxy_bypass="localhost, .corp.example")
    assert named["proxy"] == {
        "server": "http://[fd00::1]:3128",
        "bypass": "localhost,.corp.example",
        "username": "me",
        "password": "p:w",
    }
    assert options_of(browser_proxy="socks5://proxy:1080")["proxy"] == {"server": "socks5://proxy:1080"}
