"""Checks of settings against each other."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from appliance.grid.token_copy import TokenFile
from appliance.names import Browser
from appliance.settings import redis_url as redis_urls
from appliance.settings.networks import Network
from appliance.worker_folder import LONGEST_SOCKET

NOT_GUARDED = "HOST is not loopback, and the grid has no token: anyone could open sessions"
WAYS_TO_GUARD = (
    "Run `applctl token create NAME` first, or set APPLIANCE_TOKEN; or set ALLOW_ANONYMOUS=true if that is intended."
)

_SOCKET_PATH_MAX = 107  # sun_path holds 108 bytes, with a zero at the end (unix(7))


def contradictions(settings: object, without: Collection[str] = ()) -> list[str]:
    """Return what is wrong between settings, one sentence each; checks that involve `without` are skipped."""
    return [
        sentence
        for names, check in _RELATIONS.items()
        if not set(names) & set(without) and (sentence := check(*(getattr(settings, name) for name in names)))
    ]


def _check_worker_ttl(ttl_s: float, interval_s: float) -> str:
    return "" if ttl_s >= 3 * interval_s else "WORKER_TTL must be at least 3 × HEARTBEAT_INTERVAL"


def _check_memory(soft: int | None, hard: int | None) -> str:
    return "" if (soft or 0) <= (hard or soft or 0) else "WORKER_HARD_MEMORY must not be below WORKER_MAX_MEMORY"


def _check_disk(soft: int | None, hard: int | None) -> str:
    return "" if (soft or 0) <= (hard or soft or 0) else "WORKER_HARD_DISK must not be below WORKER_MAX_DISK"


def _check_lease_ttl(ttl_s: float, interval_s: float) -> str:
    return "" if ttl_s >= 3 * interval_s else "LEASE_TTL must be at least 3 × LEASE_RENEW_INTERVAL"


def _check_run_dir(run_dir: Path) -> str:
    longest = _SOCKET_PATH_MAX - len(LONGEST_SOCKET)
    return (
        "" if len(str(run_dir)) <= longest else f"RUN_DIR is too long for unix sockets (at most {longest} characters)"
    )


def _check_host(host: str, allow_anonymous: bool, token: object, redis_url: str | None, file: TokenFile) -> str:
    """A shared Redis may have tokens that are unknown here: the proxy asks it before it listens.

    A worker cannot tell either, because it may not read the file.
    """
    if allow_anonymous or is_loopback(host) or token or redis_url or file.is_closed() or file.read():
        return ""
    return f"{NOT_GUARDED}. {WAYS_TO_GUARD}"


def _check_tls(certificate: Path | None, key: Path | None) -> str:
    return "" if bool(certificate) == bool(key) else "TLS_CERT and TLS_KEY must be set together"


def _check_accounts(service_user: str | None, browser_user: str | None) -> str:
    both = bool(service_user) == bool(browser_user)
    return "" if both else "SERVICE_USER and BROWSER_USER must be set together"


def _check_egress(allowed: Sequence[Network], peers: Sequence[Network]) -> str:
    """Pages reach no peer, so a network of peers alone cannot be allowed."""
    vain = [one for one in allowed if any(one.version == peer.version and one.subnet_of(peer) for peer in peers)]  # type: ignore[arg-type]
    return f"EGRESS_PRIVATE has {vain[0]}, which is in PEERS: pages cannot reach those" if vain else ""


def _check_peers(is_guarded: bool, guard_inbound: bool, peers: Sequence[Network], redis_listen: str | None) -> str:
    """The firewall drops connections to REDIS_LISTEN from all but PEERS."""
    serves = redis_listen and not is_loopback(redis_urls.split_address(redis_listen)[0])
    if not (is_guarded and guard_inbound and serves) or peers:
        return ""
    return (
        "PEERS is required: the firewall keeps the grid's other appliances from this one's Redis. "
        "Set PEERS to their addresses or network; if there are none, remove REDIS_LISTEN"
    )


def _check_bidi(is_guarded: bool, workers: int, channel: str) -> str:
    """Its driver speaks with it by TCP on loopback (Playwright's bidi/bidiFirefox), which is closed to both."""
    if not (is_guarded and workers and channel == "moz-firefox"):
        return ""
    return "FIREFOX_CHANNEL=moz-firefox does not work with the firewall: choose firefox, or set GUARD=false"


def _check_redis_listen(listen: str | None, redis_url: str | None, password: object) -> str:
    if listen and redis_url:
        return "REDIS_LISTEN opens the appliance's own Redis, but REDIS_URL names another: set only one of them"
    if listen and not password and not is_loopback(redis_urls.split_address(listen)[0]):
        return "REDIS_LISTEN is not loopback, so REDIS_PASSWORD is required: whoever reaches Redis controls the grid"
    return ""


def _check_redis_tls(certificate: Path | None, key: Path | None) -> str:
    return "" if bool(certificate) == bool(key) else "REDIS_TLS_CERT and REDIS_TLS_KEY must be set together"


def _check_default_browser(default: Browser, redis_url: str | None, *workers: int) -> str:
    """With a shared Redis, other appliances may have the default browser's workers."""
    if redis_url or dict(zip(Browser, workers, strict=True))[default] or not any(workers):
        return ""
    return (
        f"DEFAULT_BROWSER_TYPE is {default}, but there are no {default} workers: set {default.upper()}_WORKERS, "
        "or choose another browser"
    )


# Each check gets the values of these settings, and returns what is wrong, or "".
_RELATIONS: dict[tuple[str, ...], Callable[..., str]] = {
    ("worker_ttl", "heartbeat_interval"): _check_worker_ttl,
    ("lease_ttl", "lease_renew_interval"): _check_lease_ttl,
    ("worker_max_memory", "worker_hard_memory"): _check_memory,
    ("worker_max_disk", "worker_hard_disk"): _check_disk,
    ("run_dir",): _check_run_dir,
    ("host", "allow_anonymous", "appliance_token", "redis_url", "token_file"): _check_host,
    ("tls_cert", "tls_key"): _check_tls,
    ("service_user", "browser_user"): _check_accounts,
    ("egress_private", "peers"): _check_egress,
    ("is_guarded", "guard_inbound", "peers", "redis_listen"): _check_peers,
    ("is_guarded", "firefox_workers", "firefox_channel"): _check_bidi,
    ("redis_listen", "redis_url", "redis_password"): _check_redis_listen,
    ("redis_tls_cert", "redis_tls_key"): _check_redis_tls,
    ("default_browser_type", "redis_url", *(f"{browser}_workers" for browser in Browser)): _check_default_browser,
}


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a listener there.

    A name other than localhost may lead anywhere, even one that begins like a loopback address.
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
