"""Which account of this machine a connection comes from, asked of the kernel by the connection's two addresses.

The kernel is asked for the one socket at the connection's other end (sock_diag(7), `INET_DIAG` without a dump): 15 µs,
however many sockets there are, where /proc/net/tcp would have to be read as a whole.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Mapping

from appliance.errors import CannotDial
from appliance.settings.config import Settings
from appliance.settings.cross_checks import is_loopback
from proxy.dial import is_own
from proxy.guard import NO_TOKEN

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBBI")  # inet_diag_req_v2 up to its id: family, protocol, extensions, -, states
_ADDRESSES = struct.Struct("!HH16s16s")  # inet_diag_sockid: ports and addresses, in the order of the network
_ANY_COOKIE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)  # the rest of it: interface and cookie
_ANSWER = struct.Struct("=BBBB48s5I")  # inet_diag_msg: family, state, -, -, id, expires, two queues, uid, inode
_ALL_STATES = 0xFFFFFFFF
_ROOT = 0
_PASSED_ON = ("x-forwarded-for", "forwarded", "x-real-ip", "via")  # what proxies add to the requests of others


class OwnAccounts:
    """Tells whether a request comes from an account that runs the appliance, or from root.

    Rules
     1. Only where the appliance listens on loopback: beyond it a token is the only proof.
     2. What a proxy passes on for somebody is that somebody's request, whichever account the proxy has.
     3. An account that cannot be found out is not the appliance's.
    """

    def __init__(self, settings: Settings, own_uid: int) -> None:
        """Set the listener's settings, and the account of this process, which is SERVICE_USER or who started it."""
        self._is_local = is_loopback(settings.host)
        self._uids = {own_uid, _ROOT} - {_overflow_uid()}

    def objection(self, connection: socket.socket, headers: Mapping[str, str]) -> str:
        """Return why a request needs a token, as a sentence; "" if one of the accounts sent it."""
        if not self._is_local:
            return NO_TOKEN
        try:
            peer, own = connection.getpeername(), connection.getsockname()
        except OSError:  # the client is gone
            return NO_TOKEN
        if any(headers.get(name) for name in _PASSED_ON):
            return "A request that comes through a proxy needs a token, but this one has none."
        uid = uid_of(peer, own)
        if uid is None:
            return "The kernel does not tell which account sent this request, so it needs a token."
        return "" if uid in self._uids else "Only root and the appliance's own account may connect without a token."


def uid_of(peer: tuple[object, ...], own: tuple[object, ...]) -> int | None:
    """Return the account that owns the socket at `peer` which is connected to `own`; None if that cannot be told.

    Both are addresses as `getpeername` gives them. A socket that its program has closed already belongs to nobody,
    although the kernel names root for it (sock_i_uid in net/core/sock.c): it is told by having no inode.
    Raises CannotDial if this process has no descriptor left to ask with.
    """
    here, there = (_address(str(one[0])) for one in (peer, own))
    family = socket.AF_INET if here.version == there.version == 4 else socket.AF_INET6
    addresses = _ADDRESSES.pack(peer[1], own[1], here.packed, there.packed)
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, _ALL_STATES) + addresses + _ANY_COOKIE
    try:
        answer = _ask(request)
    except OSError as error:  # a kernel without sock_diag
        if is_own(error):
            raise CannotDial(
                f"This appliance cannot tell which account sent this request: {error.strerror}."
            ) from error
        return None
    if len(answer) < _ANSWER.size:
        return None
    *_, uid, inode = _ANSWER.unpack_from(answer)
    return int(uid) if inode else None


def _ask(request: bytes) -> bytes:
    """Ask the kernel for one socket; b"" if there is none, or it may not be told. Raises OSError."""
    head = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as kernel:
        kernel.sendto(head + request, (0, 0))  # it has answered when this returns
        answer = kernel.recv(4096)
    _, kind, *_ = _HEADER.unpack_from(answer)
    return answer[_HEADER.size :] if kind == _SOCK_DIAG_BY_FAMILY else b""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Read an address; an IPv4 one that a listener on "::" sees as IPv6 is IPv4 again, as the kernel keeps it."""
    found = ipaddress.ip_address(text.partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


def _overflow_uid() -> int:
    """Return the account that stands for all accounts that are not of this user namespace (user_namespaces(7))."""
    try:
        with open("/proc/sys/kernel/overflowuid") as file:
            return int(file.read())
    except OSError:
        return 65534
