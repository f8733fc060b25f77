"""Settings are read from the environment and a file, and every wrong one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance import config
from appliance.errors import SettingsError
from appliance.models import Browser


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let no setting of the machine into the tests."""
    for name in config.Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("APPLIANCE_ENV", str(tmp_path / "appliance.env"))
    return tmp_path / "appliance.env"


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(
    own_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_settings.write_text("PORT=1111\nQUEUE_TIMEOUT=7\n")
    monkeypatch.setenv("PORT", "2222")
    settings = config.load()
    assert (settings.port, settings.queue_timeout, settings.max_concurrent_sessions) == (2222, 7, 5)


def test_every_wrong_setting_is_named_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PORT": "x", "REDIS_URL": "http://h", "MAX_CONCURRENT_SESSIONS": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        config.load()
    assert all(name in str(raised.value) for name in ("PORT", "REDIS_URL", "MAX_CONCURRENT_SESSIONS"))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HEARTBEAT_INTERVAL", "10", "WORKER_TTL must be at least 3 × HEARTBEAT_INTERVAL"),
        ("LEASE_RENEW_INTERVAL", "10", "LEASE_TTL must be at least 3 × LEASE_RENEW_INTERVAL"),
        ("HOST", "0.0.0.0", "ALLOW_ANONYMOUS"),
        ("RUN_DIR", "/tmp/" + "x" * 90, "RUN_DIR"),
        ("DEFAULT_BROWSER_TYPE", "firefox", "FIREFOX_WORKERS"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=said):
        config.load()


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "")
    monkeypatch.setenv("BROWSER_ARGS", "--lang=de '--x=a b'")
    settings = config.load(run_dir=Path("/tmp/r"))
    assert settings.effective_redis_url == "unix:///tmp/r/redis.sock"
    assert settings.browser_args == ["--lang=de", "--x=a b"]
    assert settings.pools[Browser.FIREFOX] == 0
