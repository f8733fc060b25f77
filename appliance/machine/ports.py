"""Whether the ports of an appliance are free."""

from __future__ import annotations

import errno
import socket

import psutil

from appliance.errors import SettingsError
from appliance.machine.addresses import door_beside_host
from appliance.settings.config import Settings
from appliance.settings.redis_url import split_address


def require_free(settings: Settings) -> None:
    """Raise SettingsError if the proxy could not listen on HOST and PRIVATE_HOSTNAME, or Redis on REDIS_LISTEN."""
    remedy = "Set HOST to an address of this machine, and PORT to 1024 or above unless root runs the appliance."
    _require_free(settings.host, settings.port, "PORT", remedy)
    if beside := door_beside_host(settings):
        remedy = (
            "The grid's other appliances reach this one there. Set PRIVATE_HOSTNAME to an address of this machine; or "
            "set HOST=0.0.0.0, if another machine forwards that address to this one."
        )
        _require_free(beside, settings.port, "PORT", remedy)
    if settings.redis_listen:
        host, port = split_address(settings.redis_listen)
        _require_free(host, port, "REDIS_LISTEN", "Set REDIS_LISTEN to an address of this machine, and a port.")


def _require_free(host: str, port: int, setting: str, remedy: str) -> None:
    where = f"{host} port {port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as listener:
            # as the proxy will: connections of an earlier run that linger are no obstacle
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(
                f"{where} is taken by {_owner(port)}",
                f"Stop that program, or set {setting} to another port. `applctl down` ends what an earlier run left.",
            ) from error
        raise SettingsError(f"cannot listen on {where}: {error.strerror}", remedy) from error


def _owner(port: int) -> str:
    for connection in psutil.net_connections("tcp"):
        # laddr is () only for a socket that is not bound
        listens = connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:] == (port,)
        if listens and connection.pid:
            return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return "another program"
