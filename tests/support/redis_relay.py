"""A relay between a grid and its Redis that loses what it is told to lose: messages, answers, everything."""

from __future__ import annotations

import select
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

LOOK_INTERVAL_S = 0.05  # how soon open connections notice that Redis is to be away


class RedisRelay:
    """Passes the bytes of any number of connections on, as a network does, until it is told otherwise."""

    def __init__(self, upstream: str, path: Path) -> None:
        """Use the URL of a Redis on a unix socket, and the path of the relay's own socket."""
        self.url = f"unix://{path}"
        self.loses_messages = False  # those that are published; whoever listens is not told
        self.is_away = False  # no connection stays, and no new one does
        self.lost = 0  # messages and answers so far
        self._losing, self._goes_away = b"", False
        self._upstream = urlsplit(upstream).path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_answer(self, function: str, *, and_go_away: bool = False) -> None:
        """Let the next call of a function of the Lua library reach Redis, and cut the connection before its answer.

        With `and_go_away`, Redis cannot be reached from then on.
        """
        self._losing, self._goes_away = b"\n%s_" % function.encode(), and_go_away

    def close(self) -> None:
        """Take no more connections, and end those that there are."""
        self.is_away = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError):  # either side ended
            server.connect(self._upstream)
            listens = False
            while not self.is_away:
                for source in select.select([client, server], [], [], LOOK_INTERVAL_S)[0]:
                    data = source.recv(1 << 16)
                    listens = listens or (source is client and b"SUBSCRIBE" in data)
                    if not data or (source is client and self._is_cut_by(data, server)):
                        return
                    if source is client:
                        server.sendall(data)
                    elif listens and self.loses_messages:
                        self.lost += 1
                    else:
                        client.sendall(data)

    def _is_cut_by(self, data: bytes, server: socket.socket) -> bool:
        """Whether these bytes are the call whose answer is to be lost; it is made then."""
        if not self._losing or self._losing not in data:
            return False
        self._losing, self.is_away = b"", self._goes_away
        server.sendall(data)
        server.recv(1)
        self.lost += 1
        return True


@contextmanager
def redis_relay(upstream: str) -> Iterator[RedisRelay]:
    """Run a relay to the Redis with this URL."""
    with tempfile.TemporaryDirectory(prefix="relay-") as folder:
        relay = RedisRelay(upstream, Path(folder) / "redis.sock")
        try:
            yield relay
        finally:
            relay.close()
