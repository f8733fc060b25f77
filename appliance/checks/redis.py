"""Checks of Redis and of what the grid in it says: whether it accepts this appliance, its name and its clients."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.checks.check import Check, failed, ok, warning
from appliance.errors import OpenToAll
from appliance.grid.grid import Grid, open_grid
from appliance.grid.token_copy import token_copy_of
from appliance.machine.install import MIN_REDIS, find_redis
from appliance.machine.record import record_of
from appliance.machine.supervisor import Supervisor
from appliance.names import Browser
from appliance.request_errors import StoreRefuses, StoreUnavailable
from appliance.settings.config import Settings

_CLIENTS_SHARE = 0.8  # of the connections that Redis allows, beyond which a grid that grows runs into them


def check_shared_redis(settings: Settings) -> Iterator[Check]:
    """The grid in a shared Redis accepts this appliance."""
    if settings.redis_url:
        yield from _check_grid(settings, "Check REDIS_URL.")


def check_own_redis(settings: Settings) -> Iterator[Check]:
    """The appliance's own Redis answers or, if it does not run, is installed."""
    if settings.redis_url:
        return
    if Supervisor(settings.run_dir).running():
        yield from _check_grid(settings, "See its log: applctl logs redis.")
    elif found := find_redis():
        yield ok("redis", f"{found.name} {found.version}, {found.path}")
    else:
        finding = f"there is no Redis {MIN_REDIS} or Valkey server"
        yield failed("redis", finding, "Run `applctl setup`, or set REDIS_URL.")


def check_token(settings: Settings) -> Iterator[Check]:
    """The grid has a token if HOST is not loopback. In a shared Redis there may be one that is unknown here."""
    if not settings.redis_url:
        yield from _check_token(settings, None)


def _check_grid(settings: Settings, remedy: str) -> Iterator[Check]:
    try:
        with open_grid(settings) as grid:
            version = _require_usable(grid)
            yield ok("redis", f"Redis {version or 'of an unknown version'} answers")
            if version:
                yield _check_connections(grid)
            yield from _check_name(settings, grid)
            yield from _check_token(settings, grid)
    except StoreRefuses as error:
        yield failed("redis", str(error), error.hint)
    except StoreUnavailable as error:  # it may come back while everything starts
        yield failed("redis", f"{str(error).rstrip('.')}. The appliance waits for it.", remedy, mild=True)


def _require_usable(grid: Grid) -> str:
    """Return the version of a Redis, "" if it does not tell, after a call that needs all that an appliance needs.

    Raises StoreRefuses if it does not accept this appliance, StoreUnavailable if it is away.
    """
    version = str(grid.store.facts().get("redis_version", ""))
    if version and int(version.split(".")[0]) < MIN_REDIS:
        raise StoreRefuses(f"Redis {version} has no Functions", f"Use Redis {MIN_REDIS} or later, or Valkey.")
    grid.store.require_keeping()
    grid.is_ready(Browser.CHROMIUM)
    return version


def _check_connections(grid: Grid) -> Check:
    """Redis accepts more connections. Only a user who may ask for its version may ask for that."""
    info = grid.store.ping()
    clients, most = int(info["connected_clients"]), int(info["maxclients"])
    found = f"{clients} of at most {most} connections are open"
    if clients > most * _CLIENTS_SHARE:
        return warning("redis", found, "Raise its maxclients and its limit of open files: each worker needs two.")
    return ok("redis", found)


def _check_name(settings: Settings, grid: Grid) -> Iterator[Check]:
    """No other appliance that lives has this one's name. What an earlier run of this one has left does not count."""
    name = settings.appliance_name
    if rival := grid.rival_of(name, record_of(settings).read().run):
        yield failed(
            "name",
            f"the grid already has an appliance called {name}: {rival}",
            "Set APPLIANCE_NAME to another name. If that was an earlier run of this one, the grid forgets it within "
            f"{settings.lease_ttl:g} s: try again then.",
        )


def _check_token(settings: Settings, grid: Grid | None) -> Iterator[Check]:
    if not settings.requires_token or settings.appliance_token or token_copy_of(settings).read():
        return
    if not (grid and grid.tokens()):
        error = OpenToAll()
        yield failed("token", str(error), error.hint)
