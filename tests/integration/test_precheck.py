"""What `config check` says, which `up` and `restart` ask first, on a real Redis."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli.application import main
from appliance.grid.grid import Grid
from appliance.request_errors import StoreRefuses
from appliance.settings import config
from proxy.proxy import Proxy
from tests.support.announced import announcement
from tests.support.appliance import free_port
from tests.support.certificates import Authority

Check = Callable[..., Result]


@pytest.fixture
def check(settings_file: Path, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Provide what checks settings that differ from those of an appliance of this Redis."""
    own = {"RUN_DIR": tmp_path, "APPLIANCE_NAME": "here", "CHROMIUM_SANDBOX": "false", "PORT": free_port()}
    usual = own | {"REDIS_URL": redis_url, "GRID_NAMESPACE": "test"}

    def run(**settings: object) -> Result:
        for name, value in (usual | settings).items():
            monkeypatch.setenv(name, str(value))
        return CliRunner().invoke(main, ["config", "check"], prog_name="applctl")

    return run


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Provide a folder that every account may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_settings_that_can_be_used_are_said_to_be_so(check: Check, grid: Grid) -> None:
    result = check()
    assert (result.exit_code, result.stdout) == (0, "These settings can be used.\n")


def test_a_redis_that_is_away_is_waited_for(check: Check) -> None:
    result = check(REDIS_URL=f"redis://127.0.0.1:{free_port()}")
    assert (result.exit_code, "Connection refused. The appliance waits for it." in result.stdout) == (0, True)


def test_a_wrong_password_is_told(check: Check, redis_url: str, grid: Grid) -> None:
    result = check(REDIS_URL=redis_url.replace("://", "://nobody:wrong@"))
    assert (result.exit_code, "Redis refuses: " in result.stderr) == (1, True)


def test_a_redis_that_evicts_is_refused_by_config_check_and_by_the_proxy(
    check: Check, grid: Grid, settings_file: Path, redis_url: str, tmp_path: Path
) -> None:
    grid.store.read(("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"))
    try:
        result = check()
        assert (result.exit_code, "(maxmemory-policy allkeys-lru)" in result.stderr) == (1, True)
        proxy = Proxy(config.load(redis_url=redis_url, run_dir=tmp_path, appliance_name="here", port=free_port()))
        with pytest.raises(StoreRefuses, match="evicts keys"):
            proxy.run()
    finally:
        grid.store.read(("CONFIG", "SET", "maxmemory-policy", "noeviction"))


def test_a_name_that_another_appliance_has_is_told(check: Check, grid: Grid) -> None:
    grid.announce(announcement("here"))
    grid.renew("here.abcdef", {}, 60_000)
    result = check()
    assert (result.exit_code, "already has an appliance called here: ws://here:8080" in result.stderr) == (1, True)
    grid.leave("here.abcdef")
    assert check().exit_code == 0


def test_an_endpoint_for_everybody_wants_a_token_of_the_grid(check: Check, grid: Grid) -> None:
    result = check(HOST="0.0.0.0")
    assert (result.exit_code, "the grid has no token" in result.stderr) == (1, True)
    grid.create_token("digest", "ci")
    assert check().exit_code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start processes under other accounts")
def test_a_key_that_the_services_account_cannot_read_is_told(check: Check, grid: Grid, open_folder: Path) -> None:
    pair = Authority(open_folder).issue()
    pair.certificate.chmod(0o644)
    pair.key.chmod(0o600)
    accounts = {"SERVICE_USER": "daemon", "BROWSER_USER": "nobody", "GUARD": "false"}  # every Debian has them
    result = check(**accounts, TLS_CERT=pair.certificate, TLS_KEY=pair.key)
    assert (result.exit_code, f"TLS_KEY {pair.key} cannot be read by the account daemon" in result.stderr) == (1, True)
    pair.key.chmod(0o644)
    assert check().exit_code == 0
