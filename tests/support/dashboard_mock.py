"""The dashboard's page without a grid: `python -m tests.support.dashboard_mock`, then /dashboard?scene=full.

It serves the real files, and a feed that tells one of the scenes of dashboard_scenes.py.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import gevent
from gevent.pywsgi import WSGIServer
from geventwebsocket.exceptions import WebSocketError
from geventwebsocket.handler import WebSocketHandler

from proxy.dashboard import files
from tests.support.dashboard_scenes import SCENES, Scene

WHY = [
    "It asked for chromium 1.65.",
    "All 40 slots were taken, so it waited 1.4 s.",
    "It ran on chromium-03.",
    "Its client closed it.",
]


class Mock:
    """The WSGI application; `scene` is what it shows."""

    def __init__(self) -> None:
        """Show a scene of the middle."""
        self.scene = "half"

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        """Answer one request."""
        path = environ["PATH_INFO"]
        if socket := environ.get("wsgi.websocket"):
            self._tell(socket)
            return iter(())
        content_type, body, headers = "application/json", self._api(path), ()
        if file := files.load().get(path):
            asked = parse_qs(environ.get("QUERY_STRING", "")).get("scene")
            self.scene = asked[0] if asked else self.scene
            content_type, body, headers = file.content_type, file.content, files.HEADERS
        start_response("200 OK", [("Content-Type", content_type), ("Content-Length", str(len(body))), *headers])
        return iter([body])

    def _tell(self, socket: Any) -> None:
        try:
            socket.send(json.dumps({"type": "me", "is_admin": True, "has_cookie": True, "token": "admin"}))
            scene = Scene(int(time.time() * 1000))
            socket.send(json.dumps(SCENES[self.scene](scene)))
            while True:
                gevent.sleep(1)
                scene.now_ms = int(time.time() * 1000)
                trouble = "Redis does not answer." if self.scene == "failure" else ""
                changes = {} if trouble else scene.changes()
                socket.send(json.dumps({"type": "state", "now_ms": scene.now_ms, "trouble": trouble, **changes}))
        except WebSocketError:
            return

    def _api(self, path: str) -> bytes:
        if path.endswith("/why"):
            return json.dumps({"why": WHY}).encode()
        ended = Scene(int(time.time() * 1000)).ended()
        return json.dumps({"sessions": ended} if path.endswith("/history") else ended[0]).encode()


def main() -> None:
    """Serve on loopback until the standard input ends."""
    server = WSGIServer(("127.0.0.1", 0), Mock(), handler_class=WebSocketHandler, log=None)
    server.start()
    print(f"http://127.0.0.1:{server.server_port}/dashboard", flush=True)
    gevent.get_hub().threadpool.apply(sys.stdin.read)


if __name__ == "__main__":
    main()
