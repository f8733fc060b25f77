"""The listener for agents' processes takes no other part of the proxy down."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace

import gevent

from appliance.run_dir import RunDir
from proxy.mcp import browsers
from proxy.mcp.browsers import Browsers


def test_where_it_cannot_listen_yet_it_does_as_soon_as_it_can(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(browsers, "_RETRY_S", 0.01)
    paths = RunDir(tmp_path)
    listener = Browsers(SimpleNamespace(settings=SimpleNamespace(paths=paths)), None)  # type: ignore[arg-type]
    starting = gevent.spawn(listener.start)
    starting.join(0.05)
    assert not starting.ready(), "its folder is not there"
    paths.mcp.mkdir()
    starting.get(timeout=30)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(paths.mcp_browsers))
    listener.stop(0)
