"""Settings are read from the environment and a file, and every wrong one is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.errors import SettingsError
from appliance.grid.client import connect
from appliance.names import Browser, Isolation
from appliance.settings import config


@pytest.fixture(autouse=True)
def own_settings(settings_file: Path) -> Path:
    return settings_file


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


def test_contradictions_are_named_beside_settings_that_are_wrong_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PORT": "x", "HEARTBEAT_INTERVAL": "10", "LEASE_TTL": "x", "LEASE_RENEW_INTERVAL": "9"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        config.load()
    lines = str(raised.value).splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["PORT:", "LEASE_TTL:", "WORKER_TTL"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HEARTBEAT_INTERVAL", "10", "WORKER_TTL must be at least 3 × HEARTBEAT_INTERVAL"),
        ("LEASE_RENEW_INTERVAL", "10", "LEASE_TTL must be at least 3 × LEASE_RENEW_INTERVAL"),
        ("APPLIANCE_TOKEN", "fifteen-letters", "at least 16 characters"),
        ("RUN_DIR", "/tmp/" + "x" * 75, "RUN_DIR"),
        ("POOLS", "chromium@1.62", "POOLS: 'chromium@1.62' is not of the form BROWSER@VERSION:WORKERS"),
        ("POOLS", "isolation=browser chromium:1", "POOLS: 'isolation=browser' is not of the form"),
        ("POOLS", "chromium:1 timezone=UTC timezone=UTC", "POOLS: chromium has the option timezone twice"),
        ("POOLS", "chromium@1.62.0:2", "POOLS: 'chromium@1.62.0:2' is not of the form"),
        ("POOLS", "opera@1.62:2", "POOLS: 'opera@1.62:2' names no browser; known: chromium, firefox, webkit"),
        ("POOLS", "chromium@1.62:0", "POOLS: 'chromium@1.62:0' has no workers"),
        ("POOLS", "chromium@1.62:1,chromium@1.62:2", "POOLS: chromium@1.62 is there twice"),
        ("POOLS", "chromium@1.62:200", "POOLS: a browser has at most 200 workers in all pools"),
        ("DEFAULT_BROWSER_TYPE", "firefox", "FIREFOX_WORKERS"),
        ("TLS_CERT", "cert.pem", "TLS_CERT and TLS_KEY must be set together"),
        ("TLS_KEY", "key.pem", "TLS_CERT and TLS_KEY must be set together"),
        ("REDIS_TLS_KEY", "key.pem", "REDIS_TLS_CERT and REDIS_TLS_KEY must be set together"),
        ("REDIS_LISTEN", "10.0.0.5", "an address and a port"),
        ("REDIS_LISTEN", "0.0.0.0:6379", "REDIS_PASSWORD is required"),
        ("BROWSER_PROXY", "proxy.corp.example:3128", "must be like http://10.0.0.5:3128"),
        ("BROWSER_PROXY", "http://proxy.corp.example", "must be like http://10.0.0.5:3128"),
        ("BROWSER_PROXY", "socks5://me:secret@h:1080", "do not send to a SOCKS proxy"),
        ("BROWSER_TIMEZONE", "Europe/Berln", "is not a time zone"),
        ("BROWSER_LANGUAGE", "de_DE.UTF-8", "BROWSER_LANGUAGE"),
        ("BROWSER_ENV", "DEBUG", "is not of the form NAME=value"),
        ("REDIS_PASSWORD", "with/slashes/in/it", "A-Z, a-z, 0-9 and -._~"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=said):
        config.load()


@pytest.mark.parametrize(("soft", "hard"), [("2GiB", "0"), ("0", "1GiB"), ("0", "0")])
def test_0_is_no_limit_and_so_never_below_another_one(soft: str, hard: str) -> None:
    sizes = dict(zip(("worker_max_memory", "worker_hard_memory"), (soft, hard), strict=True))
    assert config.load(**sizes).worker_max_memory == (2 * 1024**3 if soft == "2GiB" else 0)


def test_an_appliance_that_uses_anothers_redis_has_none_to_serve() -> None:
    with pytest.raises(SettingsError, match="REDIS_URL names another"):
        config.load(redis_listen="127.0.0.1:6379", redis_url="redis://h")


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "")
    monkeypatch.setenv("BROWSER_ARGS", "--lang=de '--x=a b'")
    settings = config.load(run_dir=Path("/tmp/r"))
    assert settings.effective_redis_url == "unix:///tmp/r/redis.sock"
    assert settings.browser_args == ["--lang=de", "--x=a b"]
    assert settings.workers_of(Browser.FIREFOX) == 0


def test_workers_of_a_browser_are_numbered_through_its_pools_each_with_its_spares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "CHROMIUM_WORKERS": "1",
        "SPARE_WORKERS": "1",
        "POOLS": "chromium@1.62:2, firefox@1.62:1",
    }.items():
        monkeypatch.setenv(name, value)
    settings = config.load()
    assert [str(pool) for pool in settings.all_pools] == ["chromium:1", "chromium@1.62:2", "firefox@1.62:1"]
    assert {name: str(pool) for name, pool in settings.pool_by_name.items()} == {
        "chromium-00": "chromium:1",
        "chromium-01": "chromium:1",
        **dict.fromkeys(("chromium-02", "chromium-03", "chromium-04"), "chromium@1.62:2"),
        **dict.fromkeys(("firefox-00", "firefox-01"), "firefox@1.62:1"),
    }
    assert (settings.workers_of(Browser.CHROMIUM), settings.processes_of(Browser.CHROMIUM)) == (3, 5)
    assert config.as_text(settings.pools) == "chromium@1.62:2 firefox@1.62:1"


def test_a_pool_has_the_options_that_follow_it_and_takes_the_rest_from_the_settings() -> None:
    text = """chromium:3, chromium@1.62:2 isolation=browser Max-Concurrent-Sessions=1 spare_workers=0
              args="--disable-features=A,B --mute-audio"
              firefox@1.62:1 channel=moz-firefox"""
    settings = config.load(pools=text, spare_workers=1, max_concurrent_sessions=7)
    own, older, firefox = settings.all_pools
    assert (own.workers, own.spares, older.spares, firefox.spares) == (3, 1, 0, 1)
    assert settings.own_workers_of(Browser.CHROMIUM) == 3, "it takes the place of CHROMIUM_WORKERS"
    mine, others = settings.of_pool(own), settings.of_pool(older)
    assert (mine.isolation, mine.max_concurrent_sessions, mine.browser_args) == ("context", 7, [])
    assert (others.isolation, others.max_concurrent_sessions) == ("browser", 1)
    assert others.browser_args == ["--disable-features=A,B", "--mute-audio"]
    assert settings.of_pool(firefox).firefox_channel == "moz-firefox"
    for written in (config.as_text(settings.pools), ", ".join(map(str, settings.all_pools))):
        assert config.load(pools=written, spare_workers=1).all_pools == settings.all_pools


def test_a_client_meets_the_settings_of_its_versions_pool_else_of_the_own_drivers() -> None:
    settings = config.load(pools="chromium:1 timezone=Asia/Tokyo, chromium@1.62:1 timezone=Europe/Berlin")
    found = {
        minor: settings.serving(Browser.CHROMIUM, minor).browser_timezone for minor in ("1.62", "1.65", "1.60", "")
    }
    assert found == {"1.62": "Europe/Berlin", **dict.fromkeys(("1.65", "1.60", ""), "Asia/Tokyo")}
    assert settings.serving(Browser.FIREFOX, "1.62") is settings


def test_a_pool_beside_another_one_has_isolation_browser_and_serves_who_asks_for_it() -> None:
    settings = config.load(pools="chromium:2, chromium/browser:1 max_concurrent_sessions=1 channel=chrome")
    plain, beside = settings.all_pools
    assert (plain.name, beside.name, beside.minor_in_grid("1.65")) == ("chromium", "chromium/browser", "1.65/browser")
    assert (settings.of_pool(beside).isolation, settings.of_pool(beside).reserve) == (Isolation.BROWSER, 1)
    asked = {isolation: settings.serving(Browser.CHROMIUM, "1.65", isolation) for isolation in ("", *Isolation)}
    assert {isolation: one.max_concurrent_sessions for isolation, one in asked.items()} == {
        "": 5, "context": 5, "browser": 1,
    }  # fmt: skip
    by_default = config.load(pools="chromium:2, chromium/browser:1 channel=chrome", isolation="browser")
    assert by_default.serving(Browser.CHROMIUM, "").chromium_channel == "chrome"
    for pools, said in {
        "chromium@1.62/browser:1": "POOLS: chromium@1.62/browser takes sessions of a pool chromium@1.62, which is not",
        "chromium:1 chromium/browser:1 isolation=context": "chromium/browser has isolation=browser by its name",
    }.items():
        with pytest.raises(SettingsError, match=said):
            config.load(pools=pools)


def test_all_that_is_wrong_with_pools_is_named_in_one_message() -> None:
    with pytest.raises(SettingsError) as raised:
        config.load(
            chromium_workers=2,
            pools="chromium:3 isolation=tab timezone=Mars, webkit@1.62:1 channel=webkit proxy=http://me:secret@h:1",
        )
    said = str(raised.value)
    assert "POOLS: chromium: isolation: 'tab' is not one of context, browser" in said
    assert "POOLS: chromium: timezone: 'Mars' is not a time zone" in said
    assert "CHROMIUM_WORKERS=2, but POOLS has chromium:3: remove CHROMIUM_WORKERS=2" in said
    assert "POOLS: webkit@1.62: webkit has no channel" in said
    assert "POOLS: webkit@1.62: proxy: one with a password can only be BROWSER_PROXY" in said
    assert "secret" not in said
    with pytest.raises(SettingsError) as raised:
        config.load(pools="chromium@1.62:1 chanel=chrome opera:1")
    assert "chromium@1.62 has an unknown option chanel; the options: isolation, " in str(raised.value)
    assert "'opera:1' names no browser" in str(raised.value)


def test_a_browser_that_only_a_further_pool_has_can_be_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CHROMIUM_WORKERS": "0", "FIREFOX_WORKERS": "1", "POOLS": "chromium@1.62:1"}.items():
        monkeypatch.setenv(name, value)
    assert config.load().default_browser_type is Browser.CHROMIUM


def test_networks_are_read_whichever_way_they_are_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", "10.0.0.1, 192.168.1.7/24 fd00::/8")
    assert [str(one) for one in config.load().trusted_proxies] == ["10.0.0.1/32", "192.168.1.0/24", "fd00::/8"]


@pytest.mark.parametrize("value", ["10.0.0", "10.0.0.0/33", "lb.example.org"])
def test_what_is_no_network_is_refused_by_its_name(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", f"10.0.0.1,{value}")
    with pytest.raises(SettingsError, match=f"TRUSTED_PROXIES: '{value}' is neither an address"):
        config.load()


def test_with_a_certificate_the_endpoint_is_secure(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TLS_CERT", "TLS_KEY"):
        monkeypatch.setenv(name, "some.pem")
    settings = config.load()
    assert settings.endpoint == "wss://localhost:8080"
    assert settings.tls_cert == Path("some.pem").absolute()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_loopback_requires_no_token(host: str) -> None:
    assert not config.load(host=host).requires_token


@pytest.mark.parametrize("host", ["localhost.evil.org", "127.x.example", "::1234", "0.0.0.0", "::", "10.0.0.1"])
def test_a_host_that_only_looks_like_loopback_requires_a_token(host: str) -> None:
    assert config.load(host=host).requires_token
    assert not config.load(host=host, allow_anonymous=True).requires_token


def test_a_token_that_is_wrong_is_not_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_TOKEN", "a secret with spaces")
    with pytest.raises(SettingsError) as raised:
        config.load()
    assert "APPLIANCE_TOKEN: must be" in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://h:6379/2",
        "redis://[::1]:6379",
        "rediss://user:p%40ss@h:1/0?db=3",
        "unix:///run/redis.sock?db=1",
        "unix:///run/redis@home.sock",
        "redis+sentinel://h/mymaster",
        "redis+sentinel://:secret@h:26379,[::1]:2/mymaster/3",
    ],
)
def test_a_usable_redis_url_is_taken_as_it_is(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    assert config.load().effective_redis_url == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://h", "must start with one of redis://"),
        ("redis://h:abc", "a port that is not a number"),
        ("redis://:secret@h:70000", "a port that is not a number"),
        ("redis://h:", "a port that is not a number"),
        ("redis://h/abc", "a database that is not a number"),
        ("unix://?db=0", "must name a socket"),
        ("unix:///run/redis.sock?db=x", "a database that is not a number"),
        ("redis+sentinel://h:1,h:abc/mymaster", "a port that is not a number"),
        ("redis+sentinel://h:1,:2/mymaster", "lacks the name of a Sentinel host"),
        ("redis://:12345/secret@h", "percent-encode all but letters and digits"),
        ("redis://:secret#x@10.0.0.1:6379", "percent-encode all but letters and digits"),
        ("redis://:12345?secret@h", "percent-encode all but letters and digits"),
        ("redis://:1@h/secret@h", "percent-encode all but letters and digits"),
        ("unix://:1/secret@/run/redis.sock", "percent-encode all but letters and digits"),
        ("redis://:[secret]@h", "percent-encode all but letters and digits"),
        ("redis://:secret\u2100@h", "percent-encode all but letters and digits"),
        ("redis+sentinel://h:1", "lacks a Sentinel service"),
        ("redis+sentinel://h:1/mymaster/x", "a database that is not a number"),
    ],
)
def test_a_redis_url_that_cannot_be_used_is_refused(url: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(SettingsError) as raised:
        config.load()
    assert re.search(rf"REDIS_URL: .*{re.escape(said)}", str(raised.value))
    assert "secret" not in str(raised.value)


def test_a_password_for_sentinels_masters_is_decoded_like_any_other() -> None:
    for url in ("redis://:p%2Fss%40@h", "redis+sentinel://:p%2Fss%40@h/mymaster"):
        assert connect(url).connection_pool.connection_kwargs["password"] == "p/ss@"


def test_names_in_the_file_that_are_no_settings_are_found_with_what_is_meant(own_settings: Path) -> None:
    own_settings.write_text("CHROMIUM_WORKER=7\nport=9000\nSOMETHING_ELSE=1\n")
    assert config.unknown_names() == {"CHROMIUM_WORKER": "CHROMIUM_WORKERS", "SOMETHING_ELSE": ""}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("WORKER_MAX_MEMORY", "lots", "'lots' is not a size; try 2GiB"),
        ("WORKER_MAX_MEMORY", "2 Gigs", "'2 Gigs' is not a size; try 2GiB"),
        ("PORT", "none", "'none' is not a whole number"),
        ("PORT", "70000", "must be at most 65535"),
        ("MAX_CONCURRENT_SESSIONS", "0", "must be at least 1"),
        ("QUEUE_TIMEOUT", "0", "must be more than 0"),
        ("KEEP_MAX", "2147484", "must be at most 864000"),
        ("QUEUE_TIMEOUT", "soon", "'soon' is not a number"),
        ("HEADLESS", "perhaps", "'perhaps' is neither true nor false"),
        ("LOG_LEVEL", "loud", "'LOUD' is not one of DEBUG, INFO, WARNING, ERROR"),
        ("DEFAULT_BROWSER_TYPE", "lynx", "'lynx' is not one of chromium, firefox, webkit"),
        ("APPLIANCE_NAME", "a b", "'a b' has the wrong form"),
    ],
)
def test_what_is_wrong_with_a_value_is_said_in_plain_words(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        config.load()
    assert f"{name}: {said}" in str(refused.value).splitlines()[1]


@pytest.mark.parametrize(
    ("text", "drivers"),
    [(None, ["auto"]), ("", ["auto"]), ("auto", ["auto"]), ("none", ["none"]), ("1.64,1.62", ["1.64", "1.62"])],
)
def test_drivers_on_demand_are_those_named_all_by_default_or_none(
    settings_file: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, drivers: list[str]
) -> None:
    if text is not None:
        monkeypatch.setenv("DRIVERS", text)
    settings = config.load()
    assert settings.drivers == drivers
    assert settings.has_pools_on_demand == (text != "none")
    assert config.load(drivers=config.as_text(settings.drivers)).drivers == drivers, "as another process reads it"


@pytest.mark.parametrize("text", ["off", "1.64,none", "auto 1.62", "1.64.1"])
def test_what_drivers_cannot_mean_is_refused(settings_file: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("DRIVERS", text)
    with pytest.raises(SettingsError, match=r"DRIVERS: .*write auto, none, or versions like 1.62,1.60"):
        config.load()
