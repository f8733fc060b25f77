"""The shipped supervisord.conf, read by supervisor itself, with the environment that `applctl up` gives it."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from supervisor.options import ServerOptions

from appliance.checks.view import look
from appliance.errors import SettingsError, SupervisorError
from appliance.machine import ports, respawning
from appliance.machine.environment import CONFIGURATION, export, recover, write_secrets
from appliance.machine.folders import bringing_up, prepare_run_dir
from appliance.machine.inherited import inherited
from appliance.machine.stop import clear
from appliance.machine.supervisor import ProcessInfo, Supervisor
from appliance.settings import config
from appliance.settings.config import Settings
from appliance.settings.installation import installation_root
from tests.support.waiting import until
from workers.launch_options import driver_environment

REDIS = Path("/usr/bin/redis-server")


def processes(monkeypatch: pytest.MonkeyPatch, settings: Settings, redis: Path | None = REDIS) -> dict[str, Any]:
    """Return the configuration of each process, as supervisord would run it."""
    prepare_run_dir(settings)
    for name, value in export(settings, redis).items():
        monkeypatch.setenv(name, value)
    options = ServerOptions()
    options.configfile = str(installation_root() / CONFIGURATION)
    options.realize(args=["-n"])
    groups = options.configroot.supervisord.process_group_configs
    assert not options.parse_warnings
    return {process.name: process for group in groups for process in group.process_configs}


def test_the_shipped_configuration_gives_the_process_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config.load(
        run_dir=tmp_path / "run", chromium_workers=2, webkit_workers=1, spare_workers=1, shutdown_grace=7.5
    )
    found = processes(monkeypatch, settings)
    workers = {"chromium-00", "chromium-01", "chromium-02", "webkit-00", "webkit-01"}
    assert set(found) == {"redis", "proxy", "mcp", "pools"} | workers, "each pool has its spare worker"
    assert found["chromium-01"].environment == {"BROWSER_TYPE": "chromium", "WORKER_NAME": "chromium-01"}
    assert found["proxy"].command == f'"{sys.executable}" -m proxy'
    assert found["proxy"].stopwaitsecs == 18
    assert {name for name in found if name[-1].isdigit()} == set(settings.worker_names)


def test_no_redis_is_run_where_another_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config.load(run_dir=tmp_path / "run", redis_url="redis://elsewhere", chromium_workers=1, spare_workers=0,
                           drivers="none")  # fmt: skip
    assert set(processes(monkeypatch, settings, None)) == {"proxy", "mcp", "chromium-00"}


def test_no_process_is_ever_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config.load(run_dir=tmp_path / "run", chromium_workers=1, firefox_workers=1, webkit_workers=1)
    for process in processes(monkeypatch, settings).values():
        assert process.startsecs == 0, "a process that ends soon would count as failed, and be given up"
        assert process.autorestart is not False


def test_the_proxy_stops_first_and_redis_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = processes(monkeypatch, config.load(run_dir=tmp_path / "run", chromium_workers=1))
    assert found["redis"].priority < found["chromium-00"].priority < found["proxy"].priority


def test_values_with_percent_signs_and_spaces_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config.load(
        run_dir=tmp_path / "a run",
        redis_url="redis://:100%25@host",
        browser_args=["--a=b c", "50%"],
        chromium_workers=1,
    )
    found = processes(monkeypatch, settings)
    assert found["proxy"].stdout_logfile == str(tmp_path / "a run" / "log" / "proxy.log")
    assert found["redis"].command == f'"{REDIS}" "{tmp_path}/a run/redis.conf"'


def test_a_run_dir_that_supervisord_cannot_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="percent sign"):
        export(config.load(run_dir=tmp_path / "50%"), REDIS)


def test_a_pool_that_takes_the_place_of_a_number_is_read_back_beside_it(tmp_path: Path) -> None:
    settings = config.load(run_dir=tmp_path / "run", pools="chromium:7 spare_workers=0")
    prepare_run_dir(settings)
    write_secrets(settings)
    assert recover(export(settings, None)).all_pools == settings.all_pools


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"redis_url": "redis://:100%25@host", "browser_args": ["--a=b c", "--it's", "50%"]},
        {"port": 1, "headless": False, "chromium_sandbox": "false", "firefox_workers": 3, "startup_stagger": 0},
        {"pools": "chromium@1.62:1 isolation=browser args='--a=b,c --d'", "firefox_workers": 1},
        {"default_browser_type": "webkit", "webkit_workers": 1, "chromium_workers": 0, "launch_timeout": 2.25},
    ],
)
def test_exported_settings_are_read_back_as_they_were(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config.load(run_dir=tmp_path / "run", **values)
    prepare_run_dir(settings)
    write_secrets(settings)
    exported = export(settings, None)
    assert recover(exported) == settings
    assert "100%25" not in "".join(exported.values())
    for name, value in exported.items():
        monkeypatch.setenv(name, value)
    assert config.load() == settings, "the processes would have other settings than were checked"


def test_the_run_dir_is_closed_to_other_users(tmp_path: Path) -> None:
    prepare_run_dir(config.load(run_dir=tmp_path / "a" / "run"))
    assert (tmp_path / "a" / "run").stat().st_mode & 0o777 == 0o700
    prepare_run_dir(config.load(run_dir=tmp_path / "a" / "run"))


def test_a_folder_that_holds_other_things_is_not_taken_as_run_dir(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").touch()
    with pytest.raises(SettingsError, match="contains other files"):
        prepare_run_dir(config.load(run_dir=tmp_path))


def test_a_taken_port_is_named_with_its_owner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = config.load(port=other.getsockname()[1])
        with pytest.raises(SettingsError, match=f"is taken by process {os.getpid()}"):
            ports.require_free(settings)
    ports.require_free(settings)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(SettingsError, match="cannot listen on"):
        ports.require_free(config.load(host="192.0.2.1", allow_anonymous=True))


def test_a_supervisord_that_is_away_is_a_clear_error(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    assert not supervisor.running()
    with pytest.raises(SupervisorError, match="not running"):
        supervisor.processes()
    view = look(config.load(run_dir=tmp_path))
    assert not view.running
    assert view.problems == ["the appliance is not running"]


def test_an_appliance_that_is_being_started_left_nothing_behind(tmp_path: Path) -> None:
    settings = config.load(run_dir=tmp_path)
    prepare_run_dir(settings)
    with bringing_up(settings):
        view = look(settings)
        assert view.problems == ["the appliance is being started or stopped"]
        assert not look(config.load(run_dir=tmp_path / "other")).changing
    assert not look(settings).changing


def test_the_browser_is_given_nothing_of_the_appliances_environment(tmp_path: Path) -> None:
    settings = config.load(run_dir=tmp_path)
    exported = export(settings, REDIS) | {"SUPERVISOR_ENABLED": "1", "SUPERVISOR_SERVER_URL": "unix:///run/s.sock"}
    kept = driver_environment(exported, settings, tmp_path, tmp_path, tmp_path).keys() & exported.keys()
    assert kept == inherited(os.environ).keys()


def test_the_processes_are_given_of_a_shell_only_what_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accidents = ("HTTP_PROXY", "TZ", "LANG", "LC_ALL", "PYTHONPATH", "LD_PRELOAD", "NODE_OPTIONS", "DEBUG", "A_SECRET")
    for name in accidents:
        monkeypatch.setenv(name, "of the shell")
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ours.pem")
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", "browsers")
    exported = export(config.load(run_dir=tmp_path), REDIS)
    assert not exported.keys() & set(accidents)
    assert exported["SSL_CERT_FILE"] == "/etc/ours.pem"
    assert exported["PLAYWRIGHT_BROWSERS_PATH"] == str(Path("browsers").absolute())


def test_no_process_is_given_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_TOKEN", "secret-0123456789")
    exported = export(config.load(run_dir=tmp_path), REDIS)
    assert "secret-" not in str(exported)
    assert recover(exported).appliance_token is None


def test_a_process_counts_as_started_while_it_starts() -> None:
    states = ("STARTING", "RUNNING", "BACKOFF", "EXITED", "FATAL", "STOPPED")
    started = [state for state in states if ProcessInfo("proxy", "proxy", state, 1, 0).started]
    assert started == ["STARTING", "RUNNING"]


def test_a_proxy_whose_port_is_taken_says_so_and_does_not_spin(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as other, log.open("w") as output:
        port = other.getsockname()[1]
        own = {"RUN_DIR": str(tmp_path), "PORT": str(port), "APPLIANCE_ENV": os.devnull}
        command = [sys.executable, "-m", "proxy"]
        proxy = subprocess.Popen(command, env=os.environ | own, cwd=installation_root(), stderr=output)
        try:
            said = f"the proxy cannot listen on 127.0.0.1 port {port}: "
            until(lambda: said in log.read_text(), "the proxy says why it cannot start", within_s=60)
            assert proxy.poll() is None, "it ended at once, to be restarted at once"
            proxy.send_signal(signal.SIGTERM)
            assert proxy.wait(20) == 1
        finally:
            proxy.kill()
    assert "Traceback" not in log.read_text()


def test_only_one_may_start_an_appliance_at_a_time(tmp_path: Path) -> None:
    first, second = (bringing_up(config.load(run_dir=tmp_path / "run")) for _ in range(2))
    with first, pytest.raises(SupervisorError, match="already being started"), second:
        pytest.fail("both started it")
    with bringing_up(config.load(run_dir=tmp_path / "run")):
        pass


def test_what_killed_workers_left_is_removed_unless_the_appliance_is_being_started(tmp_path: Path) -> None:
    settings, precious = config.load(run_dir=tmp_path / "run"), tmp_path / "precious"
    assert clear(settings) == [], "there is nothing yet"
    with bringing_up(settings):
        left = settings.paths.workers_of("chromium-00") / "1a2b3c"
        (left / "tmp").mkdir(parents=True)
        (left.parent / "failures").write_text("1")
        (precious / "inside").mkdir(parents=True)
        (left.parent / "link").symlink_to(precious)
        (settings.paths.workers / "linked").symlink_to(precious)
        assert clear(settings) == [], "it may be a worker's that lives"
    assert clear(settings) == ["chromium-00.1a2b3c"]
    assert (precious / "inside").is_dir()
    assert sorted(path.name for path in left.parent.iterdir()) == ["failures", "link"]


def test_a_process_that_is_told_to_stop_before_it_runs_its_program_ends() -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # as supervisord has a handler
    try:
        child = respawning.fork()
        while not child:
            signal.pause()
    finally:
        signal.signal(signal.SIGTERM, before)
    process = psutil.Process(child)
    try:
        process.terminate()
        assert process.wait(10) == -signal.SIGTERM
    finally:
        with suppress(psutil.NoSuchProcess):
            process.kill()
