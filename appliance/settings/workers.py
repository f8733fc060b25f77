"""The settings of the workers and of their browsers."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, ByteSize, Field, PrivateAttr, field_validator
from pydantic_settings import BaseSettings, NoDecode

from appliance import resources
from appliance.names import Browser, Isolation
from appliance.settings.networks import split
from appliance.settings.pools import Pool, further_pools, parse_drivers, parse_pools, place
from appliance.settings.proxies import upstream_proxy
from appliance.settings.timings import Seconds, SecondsOrNever

_MAX_WORKERS = 100
DEFAULT_LANGUAGE = "en-US"  # which Chromium's headless shell has by itself


def _default_chromium_workers() -> int:
    """One worker per core, and 2 GiB of memory for each."""
    by_memory = resources.memory_bytes() // (2 * 1024**3)
    return max(1, min(int(resources.processors()), by_memory, _MAX_WORKERS))


def _default_spare_workers() -> int:
    """One, if there is memory for it beside the default's Chromium workers."""
    return int(resources.memory_bytes() // (2 * 1024**3) > _default_chromium_workers())


def _is_timezone(name: str) -> bool:
    try:
        return bool(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


class WorkerSettings(BaseSettings):
    """How many workers there are, and how much each of them serves."""

    chromium_workers: int = Field(
        default_factory=_default_chromium_workers,
        ge=0,
        le=_MAX_WORKERS,
        description="Number of Chromium workers. Default: one per core, if there are 2 GiB of memory for each. The "
        "limits of a container count.",
    )
    firefox_workers: int = Field(0, ge=0, le=_MAX_WORKERS, description="Number of Firefox workers.")
    webkit_workers: int = Field(0, ge=0, le=_MAX_WORKERS, description="Number of WebKit workers.")
    pools: Annotated[list[str], NoDecode, BeforeValidator(parse_pools)] = Field(
        default_factory=list,
        description="Further pools, for clients of other Playwright versions: BROWSER@VERSION:WORKERS, separated by "
        "commas, like chromium@1.62:2. `applctl drivers add` installs their drivers. The numbers of workers above are "
        "those of the appliance's own driver. Default: none.",
    )
    drivers: Annotated[list[str], NoDecode, BeforeValidator(parse_drivers)] = Field(
        default_factory=list,
        description="Further Playwright versions that clients get on demand: the appliance fetches the driver when the "
        "first one comes, and starts a worker. auto: all that can be served; or versions, like 1.62,1.60. Clients "
        "without a token cause nothing to be fetched. Default: none; only the pools above are there.",
    )
    drivers_max: int = Field(
        5,
        ge=1,
        le=50,
        description="Drivers that are kept in DRIVERS_DIR. When another is fetched on demand, the one "
        "that was not used for the longest time is removed.",
    )
    pool_idle_timeout: SecondsOrNever = Field(
        1800, description="Seconds after which a pool that was started on demand ends if nobody uses it; 0: never."
    )
    spare_workers: int = Field(
        default_factory=_default_spare_workers,
        ge=0,
        le=100,
        description="Additional workers of each pool on standby, with a warm browser. One takes over when another "
        "leaves. Default: 1, if there are 2 GiB of memory for it.",
    )
    max_concurrent_sessions: int = Field(
        5, ge=1, le=1000, description="Sessions that one worker serves at the same time."
    )
    max_lifetime_sessions: int = Field(
        50, ge=0, le=10**9, description="Sessions after which a worker is recycled; 0: never."
    )
    isolation: Isolation = Field(
        Isolation.CONTEXT,
        description="What a session has for itself unless its URL says ?isolation=…: a context in a browser that "
        "others share (context), or a browser of its own, never used before and killed after (browser).",
    )
    reserve_browsers: int | None = Field(
        None,
        ge=0,
        le=100,
        description="Browsers that each worker keeps launched for sessions with isolation=browser, and as many for CDP "
        "sessions once the first one has come. Each costs about 70 MiB. Default: 1 with ISOLATION=browser, else 0.",
    )
    launch_args: Annotated[list[str], NoDecode, BeforeValidator(split)] = Field(
        default_factory=list,
        description="Names of browser arguments that clients may set by the launch option args, separated by commas, "
        "like --window-size,--lang. An argument can reach this machine: name only what you know. Default: none.",
    )
    browser_type: Browser = Field(
        Browser.CHROMIUM, description="Browser of one worker process; supervisord.conf sets it."
    )
    worker_name: str = Field(
        "chromium-00",
        pattern=r"^[\w-]+$",
        description="Name of one worker process; supervisord.conf sets it.",
    )
    private_hostname: str = Field(
        "",
        description="Address at which the grid's other appliances reach this one, at PORT, for sessions on its "
        "workers. Default: the address by which this machine reaches the grid's Redis, or serves its own "
        "(REDIS_LISTEN); else 127.0.0.1.",
    )

    _placed: dict[str, Pool] | None = PrivateAttr(None)

    def as_placed(self, placed: dict[str, Pool]) -> Self:
        """Return these settings with the pools and workers that an appliance has, whatever the settings say of them."""
        settings = self.model_copy()
        settings._placed = placed  # its own class
        return settings

    @property
    def reserve(self) -> int:
        """How many launched browsers each worker keeps in reserve for sessions with isolation=browser."""
        if self.reserve_browsers is None:
            return int(self.isolation is Isolation.BROWSER)
        return self.reserve_browsers

    @property
    def all_pools(self) -> list[Pool]:
        """The pools of this appliance: those of its own driver, then those of POOLS, then those on demand."""
        if self._placed is not None:
            return sorted(set(self._placed.values()), key=lambda pool: (pool.on_demand, bool(pool.minor), pool))
        own = [Pool(browser, "", int(getattr(self, f"{browser}_workers"))) for browser in Browser]
        pools = [pool for pool in [*own, *further_pools(self.pools)] if pool.workers]
        return [pool._replace(spares=self.spare_workers) for pool in pools]

    @property
    def pool_by_name(self) -> dict[str, Pool]:
        """The pool of each worker process, by its name.

        The workers of one browser are numbered through: those of its first pool first, with their spares. If the
        appliance's size has changed since it was started, they have the numbers that were free.
        """
        return place(self.all_pools, {}) if self._placed is None else self._placed

    @property
    def worker_names(self) -> list[str]:
        """The names of all workers, as supervisord.conf names them."""
        return list(self.pool_by_name)

    def own_workers_of(self, browser: Browser) -> int:
        """How many workers of one browser this appliance's own driver has."""
        return sum(pool.workers for pool in self.all_pools if pool.browser is browser and not pool.minor)

    def workers_of(self, browser: Browser) -> int:
        """How many workers of one browser this appliance runs, in all its pools."""
        return sum(pool.workers for pool in self.all_pools if pool.browser is browser)

    def processes_of(self, browser: Browser) -> int:
        """How many worker processes of one browser this appliance runs, the spare ones too."""
        return sum(pool.size for pool in self.all_pools if pool.browser is browser)


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
