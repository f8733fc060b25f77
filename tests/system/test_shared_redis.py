"""An appliance serves its Redis to others: with TLS, and to those who know the password."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from appliance.grid.store import Store
from appliance.machine.processes import left_over
from appliance.request_errors import StoreUnavailable
from tests.support.appliance import APPLCTL, Appliance, StartGrid, free_port
from tests.support.certificates import Authority
from tests.support.looks import command_of, environment_of

PASSWORD = "shared-0123456789"


def refused(grid: Appliance, command: str, **settings: object) -> str:
    """Return what `applctl` says with these settings beside a grid's, which it is to refuse."""
    changes = {name: str(value) for name, value in settings.items()}
    done = subprocess.run([APPLCTL, command], env=grid.env | changes, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    return done.stderr


def test_another_appliance_joins_by_tls_and_password_and_nobody_without(start_grid: StartGrid, tmp_path: Path) -> None:
    authority, port = Authority(tmp_path), free_port()
    pair = authority.issue()
    grid = start_grid(
        REDIS_LISTEN=f"127.0.0.1:{port}",
        REDIS_PASSWORD=PASSWORD,
        REDIS_TLS_CERT=pair.certificate,
        REDIS_TLS_KEY=pair.key,
    )
    address = f"127.0.0.1:{port}/0?ssl_ca_certs={authority.file}"
    other = start_grid(REDIS_URL=f"rediss://:{PASSWORD}@{address}")
    assert {worker.appliance for worker in grid.available(2)} == {
        grid.env["APPLIANCE_NAME"],
        other.env["APPLIANCE_NAME"],
    }

    for url, refusal in {
        f"rediss://:wrong-password@{address}": "invalid username-password",
        f"rediss://{address}": "Authentication required",
        f"unix://{grid.run_dir}/redis.sock": "Authentication required",
        f"redis://:{PASSWORD}@127.0.0.1:{port}": "does not answer",  # it speaks TLS alone
    }.items():
        with pytest.raises(StoreUnavailable, match=refusal):
            Store(url, "grid").ping()

    one_more = {"RUN_DIR": other.run_dir / "more", "PORT": free_port()}
    assert f"already has an appliance called {other.env['APPLIANCE_NAME']}:" in refused(other, "up", **one_more)
    assert not left_over(other.run_dir / "more")
    before = other.process("proxy").pid
    wrong = f"rediss://:wrong-password@{address}"
    assert "Redis refuses: invalid username-password" in refused(other, "restart", REDIS_URL=wrong)
    assert other.process("proxy").pid == before, "what runs is left alone"

    assert (grid.run_dir / "redis.conf").stat().st_mode & 0o777 == 0o600
    lines = [" ".join(command_of(one)) for one in [*grid.processes(), grid.process("redis")]]
    assert not [line for line in lines if PASSWORD in line], "the password shows in the list of processes"
    everyone = [*grid.processes(), *other.processes()]
    assert not [one for one in everyone if PASSWORD in "".join(environment_of(one).values())], "nor in an environment"
    secrets = [path.stat().st_mode & 0o777 for path in (other.run_dir / "secrets").iterdir()]
    assert secrets == [0o600]
    assert grid.process("redis").pid in {left.pid for left in left_over(grid.run_dir)}, "it would not be found"
    assert "***" in grid.applctl("config").stdout
    assert PASSWORD not in grid.applctl("config").stdout

    state = grid.state
    here, there = (state.appliance(one.env["APPLIANCE_NAME"]) for one in (grid, other))
    assert (here.needed_by, there.needed_by, there.proxies) == (1, 0, 1)
    other.down()
    here, there = (state.appliance(one.env["APPLIANCE_NAME"]) for one in (grid, other))
    assert (here.needed_by, there.proxies) == (0, 0), "who has stopped is gone at once"
