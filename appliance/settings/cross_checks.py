"""Checks of settings against each other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from operator import not_
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings

from appliance.names import BESIDE, Browser
from appliance.run_dir import RunDir
from appliance.settings.accounts import UIDS_NEEDED
from appliance.settings.networks import Network, is_loopback
from appliance.settings.pool_options import wrong_options
from appliance.settings.pools import Pool, further_pools, pools_of
from appliance.settings.redis_url import split_address

_SOCKET_PATH_MAX = 107  # sun_path holds 108 bytes, with a zero at the end (unix(7))
_LONGEST_RUN_DIR = _SOCKET_PATH_MAX - len(RunDir.LONGEST_SOCKET)


def contradictions(settings: object, without: Collection[str] = ()) -> list[str]:
    """Return what is wrong between settings, one sentence each; checks that involve `without` are skipped."""
    found = []
    for names, agree, sentence in _RULES:
        values = [getattr(settings, name) for name in names]
        if not set(names) & set(without) and not agree(*values):
            found.append(sentence.format(*values))
    return found


def wrong_pools(settings: BaseSettings) -> list[str]:
    """Return what is wrong with the pools that POOLS names, one sentence each."""
    found = []
    for pool in further_pools(settings.pools):  # type: ignore[attr-defined]
        found += [f"POOLS: {pool.name}: {one}" for one in wrong_options(settings, pool.browser, pool.options)]
        if pool.is_beside and (pool.browser, pool.version) not in [one.key for one in settings.all_pools]:  # type: ignore[attr-defined]
            name = pool.name.removesuffix(BESIDE)
            found.append(
                f"POOLS: {pool.name} takes sessions of a pool {name}, which is not there: add one, or call this one "
                f"{name} and give it isolation=browser"
            )
        number = f"{pool.browser}_workers"
        if not pool.minor and number in settings.model_fields_set and getattr(settings, number) != pool.workers:
            short = f"{number.upper()}={getattr(settings, number)}"
            found.append(f"{short}, but POOLS has {pool.name}:{pool.workers}: remove {short}, which is short for it")
    return found


def _thrice(ttl_s: float, interval_s: float) -> bool:
    return ttl_s >= 3 * interval_s


def _in_order(soft: int | None, hard: int | None) -> bool:
    """0 and None are no limit, or one that follows the other."""
    return not soft or not hard or soft <= hard


def _together(one: object, other: object) -> bool:
    return bool(one) == bool(other)


def _short_enough(run_dir: Path) -> bool:
    return len(str(run_dir)) <= _LONGEST_RUN_DIR


def _peers_known(has_firewall: bool, guard_inbound: bool, listen: str | None, peers: Sequence[Network]) -> bool:
    """The firewall drops connections to REDIS_LISTEN from all but PEERS."""
    return bool(peers) or not (has_firewall and guard_inbound and listen) or _is_local(listen)


def _reaches_driver(has_firewall: bool, workers: int, texts: list[str], channel: str) -> bool:
    """Its driver speaks with it by TCP on loopback (Playwright's bidi/bidiFirefox), which is closed to both."""
    pools = [pool for pool in pools_of(texts, {Browser.FIREFOX: workers}) if pool.browser is Browser.FIREFOX]
    channels = {dict(pool.options).get("channel", channel) for pool in pools}
    return not (has_firewall and "moz-firefox" in channels)


def _redis_closed(listen: str | None, password: object) -> bool:
    return not listen or bool(password) or _is_local(listen)


def _is_local(listen: str) -> bool:
    return is_loopback(split_address(listen)[0])


def _default_served(default: Browser, redis_url: str | None, texts: list[str], *workers: int) -> bool:
    """With a shared Redis, other appliances may have the default browser's workers."""
    served = {pool.browser for pool in _all_pools(texts, *workers)}
    return bool(redis_url) or default in served or not served


def _processes(texts: list[str], spares: int, *workers: int) -> dict[Browser, int]:
    """Return how many worker processes each browser has in all pools, the spare ones too."""
    pools = _all_pools(texts, *workers, spares=spares)
    return {browser: sum(pool.size for pool in pools if pool.browser is browser) for browser in Browser}


def _all_pools(texts: list[str], *workers: int, spares: int = 0) -> list[Pool]:
    return pools_of(texts, dict(zip(Browser, workers, strict=True)), spares)


def _have_user_ids(*numbers: Any) -> bool:
    """Each worker of a browser has a user id and a number of its own."""
    return max(_processes(*numbers).values()) <= _UIDS_OF_A_BROWSER


def _agents_have_a_user_id(browser_user: str | None, mcp: bool, *numbers: Any) -> bool:
    """What would be the 200th WebKit worker's belongs to agents (machine/accounts.py)."""
    return not (browser_user and mcp) or _processes(*numbers)[Browser.WEBKIT] < _UIDS_OF_A_BROWSER


_UIDS_OF_A_BROWSER = UIDS_NEEDED // 2 // len(Browser)
_WORKERS = tuple(f"{browser}_workers" for browser in Browser)

# The settings that each check compares, whether they agree, and what is wrong if they do not.
_RULES: tuple[tuple[tuple[str, ...], Callable[..., Any], str], ...] = (
    (("worker_ttl", "heartbeat_interval"), _thrice, "WORKER_TTL must be at least 3 × HEARTBEAT_INTERVAL"),
    (("lease_ttl", "lease_renew_interval"), _thrice, "LEASE_TTL must be at least 3 × LEASE_RENEW_INTERVAL"),
    (
        ("worker_max_memory", "worker_hard_memory"),
        _in_order,
        "WORKER_HARD_MEMORY must not be below WORKER_MAX_MEMORY",
    ),
    (("worker_max_disk", "worker_hard_disk"), _in_order, "WORKER_HARD_DISK must not be below WORKER_MAX_DISK"),
    (("run_dir",), _short_enough, f"RUN_DIR is too long for unix sockets (at most {_LONGEST_RUN_DIR} characters)"),
    (("tls_cert", "tls_key"), _together, "TLS_CERT and TLS_KEY must be set together"),
    (("redis_tls_cert", "redis_tls_key"), _together, "REDIS_TLS_CERT and REDIS_TLS_KEY must be set together"),
    (("service_user", "browser_user"), _together, "SERVICE_USER and BROWSER_USER must be set together"),
    (
        ("browser_user", "mcp", "pools", "spare_workers", *_WORKERS),
        _agents_have_a_user_id,
        "200 WebKit workers leave no user id for agents: set fewer WEBKIT_WORKERS or SPARE_WORKERS, or MCP=false",
    ),
    (("egress_to_peers",), not_, "EGRESS_PRIVATE has {0}, which is in PEERS: pages cannot reach those"),
    (
        ("has_firewall", "guard_inbound", "redis_listen", "peers"),
        _peers_known,
        "PEERS is required: the firewall keeps the grid's other appliances from this one's Redis. "
        "Set PEERS to their addresses or network; if there are none, remove REDIS_LISTEN",
    ),
    (
        ("has_firewall", "firefox_workers", "pools", "firefox_channel"),
        _reaches_driver,
        "the channel moz-firefox does not work with the firewall: choose firefox, or set GUARD=false",
    ),
    (
        ("redis_listen", "redis_url"),
        lambda listen, url: not (listen and url),
        "REDIS_LISTEN opens the appliance's own Redis, but REDIS_URL names another: set only one of them",
    ),
    (
        ("redis_listen", "redis_password"),
        _redis_closed,
        "REDIS_LISTEN is not loopback, so REDIS_PASSWORD is required: whoever reaches Redis controls the grid",
    ),
    (
        ("default_browser_type", "redis_url", "pools", *_WORKERS),
        _default_served,
        "DEFAULT_BROWSER_TYPE is {0}, but there are no {0} workers: set {0.name}_WORKERS, or choose another browser",
    ),
    (
        ("pools", "spare_workers", *_WORKERS),
        _have_user_ids,
        f"POOLS: a browser has at most {_UIDS_OF_A_BROWSER} workers in all pools, the spare ones too",
    ),
)
