"""The settings of the browsers that workers run, and of the memory and disk that a worker may use."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, ByteSize, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

from appliance.names import Browser
from appliance.settings.networks import split
from appliance.settings.proxies import upstream_proxy
from appliance.settings.timings import Seconds

DEFAULT_LANGUAGE = "en-US"  # which Chromium's headless shell has by itself


def _is_timezone(name: str) -> bool:
    try:
        return bool(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


class BrowserSettings(BaseSettings):
    """Which browsers are run, and how."""

    headless: bool = Field(True, description="Run browsers without a window; false needs a display.")
    chromium_channel: Literal["chromium-headless-shell", "chromium", "chrome", "msedge"] = Field(
        "chromium-headless-shell",
        description="Chromium to run: the headless shell, which opens pages several times as fast, or a full "
        "browser: chromium, chrome or msedge.",
    )
    firefox_channel: Literal["firefox", "moz-firefox"] = Field(
        "firefox",
        description="Firefox to run: Playwright's own build, or a stock Firefox over WebDriver BiDi (moz-firefox), "
        "which drivers up to 1.64 speak to (POOLS=firefox@1.62:1).",
    )
    chromium_executable: Path | None = Field(
        None, description="Program of Chromium. Default: Playwright's download, else the system's."
    )
    firefox_executable: Path | None = Field(
        None, description="Program of Firefox. Default: Playwright's download, else the system's."
    )
    webkit_executable: Path | None = Field(None, description="Program of WebKit. Default: Playwright's download.")
    allow_file_urls: bool = Field(
        False,
        description="Let sessions open file: addresses, and with them read every file of this machine that the "
        "browsers' account may read: also the appliance's own settings and tokens, unless BROWSER_USER is set.",
    )
    browser_args: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="More arguments for browsers, separated by spaces. Features that they enable or disable are "
        "added to Playwright's own.",
    )
    browser_env: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="More environment variables for drivers and browsers, NAME=value, separated by spaces. From the "
        "shell that starts the appliance they get only what docs/environment.md lists.",
    )
    browser_proxy: str | None = Field(
        None,
        description="Proxy for browsers and context.request, like http://user:password@10.0.0.5:3128; also https, "
        "socks4 and socks5. A session may choose another. Default: none, whatever HTTP_PROXY says.",
    )
    browser_proxy_bypass: Annotated[list[str], NoDecode, BeforeValidator(split)] = Field(
        default_factory=list,
        description="Hosts that are reached without BROWSER_PROXY, separated by commas: names, addresses, or "
        ".example.org for all names in a domain.",
    )
    browser_timezone: str = Field(
        "UTC",
        pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$",
        description="Time zone of pages, like Europe/Berlin, unless their context sets timezone_id.",
    )
    browser_language: str = Field(
        DEFAULT_LANGUAGE,
        pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$",
        description="Language of pages (navigator.language, Accept-Language), like de-DE, unless their context sets a "
        "locale. Chromium's headless shell formats numbers and dates as in en-US all the same.",
    )
    chromium_sandbox: Literal["auto", "true", "false"] = Field(
        "auto",
        description="Chromium's sandbox. auto: on; where it is not available, as for root or on some kernels, a grid "
        "on loopback runs without it and warns, and any other does not start. false: always off. true: required.",
    )
    playwright_driver: Path | None = Field(
        None,
        description="Folder `playwright/driver` of another Playwright version to serve. Default: the installed one.",
    )
    worker_max_memory: ByteSize = Field(
        ByteSize(0),
        description="Memory of a worker with its browser, like 2GiB, above which it drains: it takes no new "
        "sessions, and restarts when its last one has ended; 0: no limit.",
    )
    worker_hard_memory: ByteSize | None = Field(
        None,
        description="Memory of a worker with its browser above which its sessions are ended and it restarts; 0: no "
        "limit. Default: twice WORKER_MAX_MEMORY; if that is not set, three quarters of the machine's memory.",
    )
    worker_max_disk: ByteSize | None = Field(
        None,
        description="Disk space of a worker's folder, with downloads and uploads, above which it drains; 0: no limit. "
        "Default: 2 GiB, or a quarter of the file system of RUN_DIR if that is less.",
    )
    worker_hard_disk: ByteSize | None = Field(
        None,
        description="Disk space of a worker's folder above which its sessions are ended and it restarts; 0: no limit. "
        "Default: twice WORKER_MAX_DISK.",
    )
    launch_timeout: Seconds = Field(60, description="Seconds that a browser may take to start.")
    hang_timeout: Seconds = Field(
        30,
        description="Seconds within which a browser must answer a check, which is made at the same interval and "
        "after a failed dial. Otherwise it counts as hung, and its worker restarts.",
    )
    startup_stagger: float = Field(
        0.5, ge=0, description="Least seconds between two browser launches of this appliance."
    )

    @field_validator("browser_args", "browser_env", mode="before")
    @classmethod
    def _split_args(cls, value: Any) -> Any:
        return shlex.split(value) if isinstance(value, str) else value

    @field_validator("browser_env", mode="after")
    @classmethod
    def _variables(cls, value: list[str]) -> list[str]:
        for one in value:
            if not re.match(r"[A-Za-z_]\w*=", one):
                raise ValueError(f"{one!r} is not of the form NAME=value")
        return value

    @field_validator("browser_proxy")
    @classmethod
    def _usable_proxy(cls, value: str | None) -> str | None:
        if value:
            upstream_proxy(value)
        return value

    @field_validator("browser_timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        if not _is_timezone(value) and _is_timezone("Europe/Berlin"):  # else there is no tzdata on this machine
            raise ValueError(f"{value!r} is not a time zone; try Europe/Berlin")
        return value

    @property
    def browser_variables(self) -> dict[str, str]:
        """BROWSER_ENV as a dictionary."""
        return {name: value for name, _, value in (one.partition("=") for one in self.browser_env)}

    def executable_of(self, browser: Browser) -> Path | None:
        """The program that a setting names for a browser, if one does."""
        value: Path | None = getattr(self, f"{browser}_executable")
        return value
