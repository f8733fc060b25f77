"""Where a worker's socket is, and the unix sockets that the kernel tells of."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from appliance.machine import unix_sockets
from appliance.run_dir import RunDir
from appliance.settings.config import Settings
from appliance.settings.cross_checks import contradictions
from tests.support.waiting import until


def test_a_workers_socket_is_below_its_names_folder_whatever_its_appliance_is_called() -> None:
    for appliance in ("here", "a.b.c", "10.0.0.1"):
        path = RunDir(Path("/run")).driver_socket(f"{appliance}.chromium-00.0a1b2c")
        assert path == Path("/run/workers/chromium-00/0a1b2c/driver.sock")


@pytest.mark.parametrize(
    "name",
    ["", "x", "here.chromium-00.", "here..abc", "here.../etc.abc", "here.chromium-00./../../redis", "a.b.ä"],
)
def test_an_id_that_names_a_place_elsewhere_leads_nowhere(name: str) -> None:
    with pytest.raises(ValueError, match="is not a worker's id"):
        RunDir(Path("/run")).worker(name)


def test_a_run_dir_is_refused_whose_sockets_would_have_too_long_names() -> None:
    longest = 107 - len(RunDir.LONGEST_SOCKET)
    assert not contradictions(Settings(run_dir=Path("/" + "r" * (longest - 1))))
    (said,) = contradictions(Settings(run_dir=Path("/" + "r" * longest)))
    assert said == f"RUN_DIR is too long for unix sockets (at most {longest} characters)"


def test_the_kernel_tells_who_listens_and_who_is_connected(tmp_path: Path) -> None:
    path, other = tmp_path / "driver.sock", tmp_path / "driver.sock2"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as stranger:
        for one, place in ((listener, path), (stranger, other)):
            one.bind(str(place))
            one.listen()
        clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for client in clients:
            client.connect(str(path))
        accepted = [listener.accept()[0] for _ in range(2)]
        assert unix_sockets.connections_to(path) == 2, "one is not accepted yet"
        assert unix_sockets.connections_to(other) == 0
        found = [one for one in unix_sockets.all_sockets() if one.path == str(path)]
        own = unix_sockets.held_by(os.getpid())
        assert [one.listens for one in found if one.inode in own].count(True) == 1
        assert {one.peer for one in found if not one.listens} <= own
        for one in (*clients, *accepted):
            one.close()
        until(lambda: unix_sockets.connections_to(path) == 0, "all are closed")
