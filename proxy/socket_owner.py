"""Which account of this machine owns the socket at a connection's other end.

The kernel is asked for that one socket (sock_diag(7), `INET_DIAG` without a dump): 15 µs, however many sockets there
are. /proc/net/tcp would have to be read as a whole.
"""

from __future__ import annotations

import ipaddress
import socket
import struct

from appliance.request_errors import CannotDial
from proxy.dial import is_own

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


def uid_of(peer: tuple[object, ...], own: tuple[object, ...]) -> int | None:
    """Return the account that owns the socket at `peer` which is connected to `own`; None if it is not known.

    Both are addresses as `getpeername` returns them. A socket that its program has closed belongs to nobody, although
    the kernel names root for it (sock_i_uid in net/core/sock.c): such a socket has no inode.
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
    """Return what the kernel says of one socket, b"" if nothing; raises OSError."""
    head = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as kernel:
        kernel.sendto(head + request, (0, 0))  # it has answered when this returns
        answer = kernel.recv(4096)
    _, kind, *_ = _HEADER.unpack_from(answer)
    return answer[_HEADER.size :] if kind == _SOCK_DIAG_BY_FAMILY else b""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address; an IPv4 one that a listener on "::" sees as IPv6 becomes IPv4 again, as in the kernel."""
    found = ipaddress.ip_address(text.partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


def overflow_uid() -> int:
    """Return the account that stands for all accounts outside this user namespace (user_namespaces(7))."""
    try:
        with open("/proc/sys/kernel/overflowuid") as file:
            return int(file.read())
    except OSError:
        return 65534
