"""Where the inner door must be open beside HOST, so that the grid's other appliances find it where it is announced."""

from __future__ import annotations

import socket

from appliance.config import Settings
from appliance.errors import SettingsError


def address_beside_host(settings: Settings) -> str:
    """Return the address of PRIVATE_HOSTNAME if a listener on HOST is not reached there, else "".

    An appliance that shares no Redis has nobody who would come. Raises SettingsError for a name without an address.
    """
    if not (settings.redis_url or settings.redis_listen):
        return ""
    wanted = _look_up("PRIVATE_HOSTNAME", settings.private_hostname)
    listening = _look_up("HOST", settings.host)
    missing = [address for address, family in wanted.items() if not _is_covered(address, family, listening)]
    return missing[0] if len(missing) == len(wanted) else ""


def require_usable(settings: Settings) -> None:
    """Raise SettingsError if this machine cannot listen where the grid's other appliances are to find it."""
    address = address_beside_host(settings)
    if not address:
        return
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            raise not_openable(settings, error) from error


def not_openable(settings: Settings, error: OSError) -> SettingsError:
    """Return what to say when nobody can listen at PRIVATE_HOSTNAME."""
    where = f"PRIVATE_HOSTNAME {settings.private_hostname} port {settings.port}"
    return SettingsError(
        f"the grid's other appliances are to reach this one at {where}, where it cannot listen: {error.strerror}",
        "Set PRIVATE_HOSTNAME to an address of this machine; or HOST to 0.0.0.0, if that address leads here by way of "
        "another machine.",
    )


def _is_covered(address: str, family: int, listening: dict[str, int]) -> bool:
    if address in listening or "::" in listening:
        return True
    return "0.0.0.0" in listening and family == socket.AF_INET  # noqa: S104


def _look_up(setting: str, host: str) -> dict[str, int]:
    """Return a host's addresses with their families."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"{setting} is {host}, which has no address: {error}") from error
    return {str(place[0]): int(family) for family, _, _, _, place in found}
