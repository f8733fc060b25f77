"""The settings of the workers: how many there are, and how much each serves."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, PrivateAttr
from pydantic_settings import BaseSettings, NoDecode

from appliance import resources
from appliance.names import BESIDE, Browser, Isolation
from appliance.settings.networks import split
from appliance.settings.pool_options import with_options
from appliance.settings.pools import AUTO, NONE, Pool, parse_drivers, parse_pools, place, pools_of
from appliance.settings.timings import SecondsOrNever

_MAX_WORKERS = 100


def _default_chromium_workers() -> int:
    """One worker per core, and 2 GiB of memory for each."""
    by_memory = resources.memory_bytes() // (2 * 1024**3)
    return max(1, min(int(resources.processors()), by_memory, _MAX_WORKERS))


def _default_spare_workers() -> int:
    """One, if there is memory for it beside the default's Chromium workers."""
    return int(resources.memory_bytes() // (2 * 1024**3) > _default_chromium_workers())


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
        description="Pools that other Playwright versions or other options tell apart from those above: "
        "BROWSER@VERSION:WORKERS, like chromium@1.62:2, with OPTION=VALUE behind it, like isolation=browser; separated "
        "by commas. Without @VERSION, the appliance's own driver runs it, and it takes the place of the number above. "
        "chromium/browser:2 is a pool for sessions with isolation=browser. "
        "`applctl drivers add` installs other drivers. The options: docs/pools.md. Default: none.",
    )
    drivers: Annotated[list[str], NoDecode, BeforeValidator(parse_drivers)] = Field(
        default=[AUTO],
        description="Further Playwright versions that clients get on demand: when the first one comes, the appliance "
        "fetches the driver from the package index of pip, and starts a worker. auto: all versions that can be served; "
        "or versions, like 1.62,1.60; none: only the pools above. Clients without a token cause nothing to be fetched.",
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
        "sessions once the first one has come. Each costs about 40 MiB. Default: 1 with ISOLATION=browser, else 0.",
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
    def has_pools_on_demand(self) -> bool:
        """Whether clients may get pools that no setting names."""
        return self.drivers != [NONE]

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
        numbers = {browser: int(getattr(self, f"{browser}_workers")) for browser in Browser}
        return pools_of(self.pools, numbers, self.spare_workers)

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

    def of_pool(self, pool: Pool) -> Self:
        """Return these settings with what a pool has of its own; raises ValueError."""
        own = [("isolation", Isolation.BROWSER)] if pool.is_beside else []
        return with_options(self, pool.browser, [*pool.options, *own])

    def serving(self, browser: Browser, minor: str, isolation: str = "") -> Self:
        """Return the settings of the pool that serves a client; `minor` is its version, "" if it does not matter.

        `isolation` is what it asks for. A client whose version has no pool here is served by another appliance, whose
        pools these settings do not know.
        """
        pools = {pool.minor: pool for pool in self.all_pools if pool.browser is browser}
        version = minor if minor in pools else ""
        pool = pools.get(version)
        if (isolation or (self.of_pool(pool) if pool else self).isolation) == Isolation.BROWSER:
            pool = pools.get(version + BESIDE, pool)
        return self.of_pool(pool) if pool and (pool.options or pool.is_beside) else self

    def own_workers_of(self, browser: Browser) -> int:
        """How many workers of one browser this appliance's own driver has."""
        return sum(pool.workers for pool in self.all_pools if pool.browser is browser and not pool.minor)

    def workers_of(self, browser: Browser) -> int:
        """How many workers of one browser this appliance runs, in all its pools."""
        return sum(pool.workers for pool in self.all_pools if pool.browser is browser)

    def processes_of(self, browser: Browser) -> int:
        """How many worker processes of one browser this appliance runs, the spare ones too."""
        return sum(pool.size for pool in self.all_pools if pool.browser is browser)
