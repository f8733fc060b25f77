"""The machine's unix sockets, as the kernel tells of them: who listens, and who is connected to whom."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# linux/netlink.h, linux/sock_diag.h, linux/unix_diag.h; the states are those of TCP (net/tcp_states.h)
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_NLM_F_REQUEST, _NLM_F_DUMP = 0x001, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_SHOW_NAME, _SHOW_PEER = 0x01, 0x04
_NAME, _PEER = 0, 2
_ESTABLISHED, _LISTEN = 1, 10
_HEADER, _REQUEST, _FOUND, _ATTRIBUTE = (struct.Struct(form) for form in ("=IHHII", "=BBHIIIII", "=BBBBIII", "=HH"))
_ANSWER_TIMEOUT_S = 5.0
_PART_BYTES = 64 * 1024

_CONNECTED = "03"  # proc_pid_net(5), the column St: SS_CONNECTED of linux/net.h


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A unix socket; `path` is "" if it has none, and `peer` the inode of what it is connected to, or 0."""

    inode: int
    path: str
    peer: int = 0
    listens: bool = False


def connections_to(path: Path) -> int:
    """Count the connections that were accepted at a path."""
    return len(accepted_at(path))


def accepted_at(path: Path, pid: int | None = None) -> set[int]:
    """Return the inodes of the connections that were accepted at a path; raises OSError.

    The kernel counts them to the network of who connected: `pid` is a process in that network, if it is another one.
    """
    table = Path("/proc", "self" if pid is None else str(pid), "net", "unix")
    lines = (line.split(maxsplit=7) for line in table.read_text(errors="replace").splitlines())
    return {int(fields[6]) for fields in lines if fields[5] == _CONNECTED and fields[7:] == [str(path)]}


def all_sockets() -> list[UnixSocket]:
    """Return all connected and all listening unix sockets of this network namespace; raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_ANSWER_TIMEOUT_S)
        states = 1 << _ESTABLISHED | 1 << _LISTEN
        request = _REQUEST.pack(socket.AF_UNIX, 0, 0, states, 0, _SHOW_NAME | _SHOW_PEER, 0, 0)
        header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0)
        kernel.sendall(header + request)
        return list(_answers(kernel))


def held_by(pid: int) -> set[int]:
    """Return the inodes of the sockets that a process has open; none if it has ended, or is another account's."""
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return set()
    targets = (_target(f"/proc/{pid}/fd/{name}") for name in names)
    return {int(target[len("socket:[") : -1]) for target in targets if target.startswith("socket:[")}


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:  # just closed
        return ""


def _answers(kernel: socket.socket) -> Iterator[UnixSocket]:
    while True:
        part = kernel.recv(_PART_BYTES)
        while part:
            length, kind, *_ = _HEADER.unpack_from(part)
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR:
                (number,) = struct.unpack_from("=i", part, _HEADER.size)
                raise OSError(-number, f"the kernel does not tell its unix sockets: {os.strerror(-number)}")
            yield _parse(part[_HEADER.size : length])
            part = part[_aligned(length) :]


def _parse(message: bytes) -> UnixSocket:
    _, _, state, _, inode, _, _ = _FOUND.unpack_from(message)
    path, peer, rest = "", 0, message[_FOUND.size :]
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        value = rest[_ATTRIBUTE.size : length]
        if kind == _NAME:
            path = os.fsdecode(value.rstrip(b"\0"))
        elif kind == _PEER:
            (peer,) = struct.unpack("=I", value)
        rest = rest[_aligned(length) :]
    return UnixSocket(inode, path, peer, state == _LISTEN)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
