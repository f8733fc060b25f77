"""The settings: environment variables, typed, documented and checked in one place.

They are read from the environment, then from the settings file `appliance.env` of the installation
(or the file that `APPLIANCE_ENV` names), then from the defaults below.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import shlex
import socket
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import psutil
from dotenv import dotenv_values
from pydantic import ByteSize, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from appliance import redis_url as redis_urls
from appliance.errors import SettingsError
from appliance.models import Browser
from appliance.relations import contradictions
from appliance.token_file import TokenFile

Seconds = Annotated[float, Field(gt=0)]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAX_WORKERS = 100
_TOKEN_MIN = 16  # characters


def installation_root() -> Path:
    """Give the folder that holds supervisord.conf: the checkout, or what was installed beside Python."""
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "supervisord.conf").is_file():
        return checkout
    return Path(sys.prefix) / "share" / "playwright-appliance"


def settings_file() -> Path:
    """Give the path of the settings file, which need not exist."""
    return Path(os.environ.get("APPLIANCE_ENV") or installation_root() / "appliance.env")


def _default_chromium_workers() -> int:
    """One worker per core, and 2 GiB of memory for each."""
    by_memory = int(psutil.virtual_memory().total // (2 * 1024**3))
    return max(1, min(os.cpu_count() or 1, by_memory, _MAX_WORKERS))


def _default_spare_workers() -> int:
    """One, if there is memory for it beside the default's Chromium workers."""
    return int(psutil.virtual_memory().total // (2 * 1024**3) > _default_chromium_workers())


def _default_appliance_name() -> str:
    return re.sub(r"[^\w.-]", "-", socket.gethostname()) or "appliance"


def _default_run_dir() -> Path:
    return installation_root() / "run"


class Settings(BaseSettings):
    """All settings of an appliance. The names are those of the environment variables, in lower case.

    This checks each one by itself; `load` also checks that they go together.
    """

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)

    # ── The grid ──────────────────────────────────────────────────────────────────────────────────
    redis_url: str | None = Field(
        None,
        description="Redis that coordinates the grid: redis://, rediss://, unix:// or redis+sentinel://. "
        "Not set: the appliance runs a Redis of its own, on a unix socket.",
    )
    grid_namespace: str = Field(
        "grid",
        pattern=r"^[\w.-]+$",
        description="Prefix of all keys, so that several grids can share one Redis.",
    )
    appliance_name: str = Field(
        default_factory=_default_appliance_name,
        pattern=r"^[\w.-]+$",
        description="Name of this appliance, unique in its grid. Default: the host's name.",
    )
    run_dir: Path = Field(
        default_factory=_default_run_dir,
        description="Folder for sockets, logs, and the workers' temporary files. Default: run/ in the installation.",
    )

    # ── The endpoint ──────────────────────────────────────────────────────────────────────────────
    host: str = Field("127.0.0.1", description="Address that the proxy listens on.")
    port: int = Field(8080, ge=1, le=65535, description="Port that the proxy listens on.")
    appliance_token: SecretStr | None = Field(
        None,
        description="First token of the grid, called appliance; the same on all its appliances. A changed one "
        "replaces it. Others are made by `applctl token create`.",
    )
    allow_anonymous: bool = Field(
        False,
        description="Let in clients that bring no token, even if the grid has some, and on other addresses than "
        "loopback.",
    )
    tls_cert: Path | None = Field(
        None,
        description="Certificate of the endpoint with its chain, a PEM file, which makes it wss://. Read anew when "
        "it changes. Default: no TLS.",
    )
    tls_key: Path | None = Field(None, description="Key of TLS_CERT, a PEM file without a password.")
    trusted_proxies: Annotated[list[Network], NoDecode] = Field(
        default_factory=list,
        description="Addresses and networks of load balancers, separated by commas, whose X-Forwarded-For tells the "
        "clients' addresses. Default: none.",
    )
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Further names under which /metrics and /api are shown, separated by commas; * for any. Always: "
        "addresses, names of one label like localhost, and this machine's.",
    )
    request_timeout: Seconds = Field(15, description="Seconds from the connect in which a request must be complete.")
    max_connections_per_client: int = Field(
        0,
        ge=0,
        description="Sessions, waiting or running, of one client address at this appliance; the next gets 429. "
        "0: no limit but the slots and the queue, as hundreds may well come from one machine.",
    )
    default_browser_type: Browser = Field(
        Browser.CHROMIUM,
        description="Browser of a session whose client names none: chromium, firefox or webkit.",
    )

    # ── Workers ───────────────────────────────────────────────────────────────────────────────────
    chromium_workers: int = Field(
        default_factory=_default_chromium_workers,
        ge=0,
        le=_MAX_WORKERS,
        description="Chromium workers. Default: one per core, as far as there are 2 GiB of memory for each.",
    )
    firefox_workers: int = Field(0, ge=0, le=_MAX_WORKERS, description="Firefox workers.")
    webkit_workers: int = Field(0, ge=0, le=_MAX_WORKERS, description="WebKit workers.")
    spare_workers: int = Field(
        default_factory=_default_spare_workers,
        ge=0,
        le=100,
        description="Further workers of each pool that keep a warm browser and take over when another leaves. "
        "Default: 1, where there are 2 GiB of memory for it.",
    )
    max_concurrent_sessions: int = Field(
        5, ge=1, le=1000, description="Sessions that one worker serves at the same time."
    )
    max_lifetime_sessions: int = Field(
        50, ge=0, le=10**9, description="Sessions after which a worker is recycled; 0: never."
    )
    browser_type: Browser = Field(
        Browser.CHROMIUM, description="Browser of one worker process; supervisord.conf sets it."
    )
    worker_slot: str = Field(
        "chromium-00",
        pattern=r"^[\w-]+$",
        description="Slot of one worker process; supervisord.conf sets it.",
    )
    private_hostname: str = Field(
        "127.0.0.1",
        description="Address that workers listen on, by which the grid's other appliances reach them.",
    )

    # ── Browsers ──────────────────────────────────────────────────────────────────────────────────
    headless: bool = Field(True, description="Run browsers without a window; false needs a display.")
    chromium_channel: Literal["chromium-headless-shell", "chromium", "chrome", "msedge"] = Field(
        "chromium-headless-shell",
        description="Chromium to run: the headless shell, which opens pages several times as fast, or a full "
        "browser: chromium, chrome or msedge.",
    )
    firefox_channel: Literal["firefox", "moz-firefox"] = Field(
        "firefox",
        description="Firefox to run: Playwright's own build, or a stock Firefox over WebDriver BiDi (moz-firefox), "
        "which drivers up to 1.62 speak to (PLAYWRIGHT_DRIVER).",
    )
    chromium_executable: Path | None = Field(
        None, description="Program of Chromium. Default: Playwright's download, else the system's."
    )
    firefox_executable: Path | None = Field(
        None, description="Program of Firefox. Default: Playwright's download, else the system's."
    )
    webkit_executable: Path | None = Field(None, description="Program of WebKit. Default: Playwright's download.")
    browser_args: Annotated[list[str], NoDecode] = Field(
        default_factory=list, description="Further arguments for the browser, separated by spaces."
    )
    chromium_sandbox: Literal["auto", "true", "false"] = Field(
        "auto", description="Chromium's sandbox. auto: on, except as root and where the kernel forbids it."
    )
    playwright_driver: Path | None = Field(
        None,
        description="Folder `playwright/driver` of another Playwright version to serve. Default: the installed one.",
    )
    worker_max_memory: ByteSize | None = Field(
        None,
        description="Memory of a worker with its browser, like 2GiB, beyond which it is drained and starts anew. "
        "Default: no limit.",
    )
    launch_timeout: Seconds = Field(60, description="Seconds that a browser may take to start.")
    hang_timeout: Seconds = Field(
        30,
        description="Seconds in which a browser must answer a check, which is made as often and when it could not be "
        "reached; else it counts as hung, and its worker starts anew.",
    )
    startup_stagger: float = Field(
        0.5, ge=0, description="Seconds between two browser launches of this appliance, at least."
    )

    # ── Timings ───────────────────────────────────────────────────────────────────────────────────
    heartbeat_interval: Seconds = Field(5, description="Seconds between a worker's heartbeats.")
    worker_ttl: Seconds = Field(15, description="Seconds without a heartbeat after which a worker counts as lost.")
    lease_renew_interval: Seconds = Field(5, description="Seconds between a proxy's renewals of its sessions' leases.")
    lease_ttl: Seconds = Field(15, description="Seconds after which the slot of a session that nobody renews is free.")
    reaper_run_interval: Seconds = Field(5, description="Seconds between two searches for lost workers and leases.")
    ping_interval: float = Field(
        20,
        ge=0,
        description="Seconds without a byte for a client after which it is sent a WebSocket ping, so that nothing on "
        "the way takes its connection for dead; 0: never.",
    )
    ping_timeout: float = Field(
        300,
        ge=0,
        description="Seconds after a ping in which something must come from the client, or its session ends; 0: never. "
        "A Node.js client that is stopped at a breakpoint answers no ping, so this is long; a machine that is gone is "
        "noticed in about a minute anyway, unless a load balancer keeps its connection up.",
    )
    session_timeout: float = Field(0, ge=0, description="Seconds that a session may last; 0: no limit.")
    session_idle_timeout: float = Field(
        0, ge=0, description="Seconds that a session may last without a message, either way; 0: no limit."
    )
    queue_timeout: Seconds = Field(30, description="Seconds that a client waits for a slot before it gets 503.")
    queue_max_length: int = Field(
        100, ge=0, description="Clients that may wait for one browser; the next one gets 429."
    )
    drain_timeout: Seconds = Field(
        3600,
        description="Seconds that a worker at its quota waits for its last sessions before it ends them.",
    )
    shutdown_grace: Seconds = Field(
        20,
        description="Seconds that running sessions are given when the appliance or a worker is told to stop.",
    )

    # ── Logs ──────────────────────────────────────────────────────────────────────────────────────
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")
    log_format: Literal["text", "json"] = Field("text", description="Form of the log lines: text or json.")

    @field_validator("browser_args", mode="before")
    @classmethod
    def _split_args(cls, value: Any) -> Any:
        return shlex.split(value) if isinstance(value, str) else value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        return [_network(one) for one in _split(value)]

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return _split(value)

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("redis_url")
    @classmethod
    def _usable_url(cls, value: str | None) -> str | None:
        if value:
            redis_urls.check(value)
        return value

    @field_validator("appliance_token")
    @classmethod
    def _usable_token(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value() if value else ""
        if value and (len(text) < _TOKEN_MIN or not re.fullmatch(r"[!-~]+", text)):
            raise ValueError(f"must be at least {_TOKEN_MIN} characters, of ASCII and without spaces")
        return value

    @field_validator("run_dir", "tls_cert", "tls_key", mode="after")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value and value.expanduser().absolute()

    @property
    def pools(self) -> dict[Browser, int]:
        """How many workers this appliance runs, by browser."""
        return {browser: self.workers_of(browser) for browser in Browser}

    def workers_of(self, browser: Browser) -> int:
        """How many workers of one browser this appliance runs."""
        return int(getattr(self, f"{browser}_workers"))

    def processes_of(self, browser: Browser) -> int:
        """How many worker processes of one browser this appliance runs, the spare ones too."""
        workers = self.workers_of(browser)
        return workers + self.spare_workers if workers else 0

    def executable_of(self, browser: Browser) -> Path | None:
        """The program that a setting names for a browser, if one does."""
        value: Path | None = getattr(self, f"{browser}_executable")
        return value

    @property
    def longest_silence(self) -> float:
        """The seconds that a silence of everyone counts for at most: a third of a TTL leaves time to speak."""
        return min(self.reaper_run_interval, self.worker_ttl / 3, self.lease_ttl / 3)

    @property
    def effective_redis_url(self) -> str:
        """REDIS_URL, or the unix socket of the appliance's own Redis."""
        return self.redis_url or f"unix://{self.run_dir / 'redis.sock'}"

    @property
    def token_file(self) -> TokenFile:
        """The appliance's copy of the grid's tokens."""
        return TokenFile(self.run_dir, self.effective_redis_url, self.grid_namespace)

    @property
    def host_names(self) -> frozenset[str]:
        """The names under which the pages are shown, beside addresses and names of one label."""
        own = {socket.gethostname(), self.appliance_name, self.host, self.private_hostname}
        return frozenset(name.lower() for name in own | set(self.allowed_hosts))

    @property
    def endpoint(self) -> str:
        """The address that clients connect to, as this machine sees it."""
        host = {"0.0.0.0": "localhost", "::": "localhost", "127.0.0.1": "localhost"}.get(self.host, self.host)  # noqa: S104
        return f"{'wss' if self.tls_cert else 'ws'}://{host}:{self.port}"


def _split(value: Any) -> Any:
    """Split a list that is written with commas, spaces or both."""
    return value.replace(",", " ").split() if isinstance(value, str) else value


def _network(value: Any) -> Network:
    """Read "10.0.0.0/8" or one address; raises ValueError."""
    try:
        return ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is no address, and no network like 10.0.0.0/8") from None


def load(**overrides: Any) -> Settings:
    """Read and check the settings.

    Raises SettingsError, whose message names every setting that is wrong, one on a line.
    """
    wrong: dict[str, str] = {}
    try:
        settings = Settings(_env_file=settings_file(), **overrides)
    except ValidationError as error:
        wrong = {str(e["loc"][0]): e["msg"].removeprefix("Value error, ") for e in error.errors()}
        # The other settings are checked against each other as well; the defaults only fill the gaps.
        defaults = {name: Settings.model_fields[name].get_default(call_default_factory=True) for name in wrong}
        settings = Settings(_env_file=settings_file(), **{**overrides, **defaults})
    lines = [f"{name.upper()}: {reason}" for name, reason in wrong.items()] + contradictions(settings, wrong)
    if lines:
        raise SettingsError(
            "\n  ".join(["these settings are wrong:", *lines]),
            f"Correct them in the environment or in {settings_file()}; `applctl config` explains each.",
        )
    return settings


def unknown_names() -> dict[str, str]:
    """Give the names in the settings file that are no settings, each with the one that is likely meant, or ""."""
    known = [name.upper() for name in Settings.model_fields]
    names = (name for name in dotenv_values(settings_file()) if name.upper() not in known)
    return {name: next(iter(difflib.get_close_matches(name.upper(), known, n=1)), "") for name in names}
