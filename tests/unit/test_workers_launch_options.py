"""What the driver is told."""

from pathlib import Path
from typing import Any

import pytest

from appliance.config import Settings
from appliance.models import Browser
from workers.launch_options import driver_environment, launch_options
from workers.leftovers import MARKER

PROGRAM = Path("/opt/browser")


def options_of(sandbox: bool = True, **settings: Any) -> dict[str, Any]:
    return launch_options(Settings(**settings), PROGRAM, "127.0.0.1", "/secret", sandbox)


def test_the_headless_shell_is_launched_by_its_channel_behind_the_given_path() -> None:
    options = options_of(launch_timeout=7)
    assert options["channel"] == "chromium-headless-shell"
    assert options["executablePath"] == "/opt/browser"
    assert (options["host"], options["port"], options["wsPath"]) == ("127.0.0.1", 0, "/secret")
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
    assert options["args"] == ["--disable-gpu", "--disable-quic", "--lang=de", "--user-agent=a b"]


@pytest.mark.parametrize(
    ("browser", "channel", "named"),
    [(Browser.FIREFOX, "firefox", None), (Browser.FIREFOX, "moz-firefox", "moz-firefox")],
)
def test_only_a_stock_firefox_is_named_as_a_channel(browser: Browser, channel: str, named: str | None) -> None:
    options = options_of(browser_type=browser, firefox_channel=channel)
    assert options.get("channel") == named
    assert options["args"] == []
    assert "chromiumSandbox" not in options


def test_the_browser_does_not_learn_the_appliances_settings() -> None:
    given = {"PATH": "/bin", "REDIS_URL": "redis://:secret@db", "HOST": "0.0.0.0", "LANG": "C"}
    environment = driver_environment(given, Path("/run/w"), Path("/run/w/tmp"), Path("/run/cache"))
    added = {"TMPDIR": "/run/w/tmp", MARKER: "/run/w", "NODE_COMPILE_CACHE": "/run/cache"}
    assert environment == {"PATH": "/bin", "LANG": "C", **added}
