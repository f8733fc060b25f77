"""The doctor's look at a real Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance import config
from appliance.config import Settings
from appliance.doctor.programs import check_redis
from appliance.registry import Registry


@pytest.fixture
def settings(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("APPLIANCE_ENV", "/nowhere")
    return config.load(redis_url=redis_url)


@pytest.fixture
def few_clients(registry: Registry) -> Iterator[None]:
    """Let Redis take hardly more connections than there are."""
    (before,) = registry.store.read(("CONFIG", "GET", "maxclients"))
    registry.store.read(("CONFIG", "SET", "maxclients", 10))
    held = [registry.store.subscribe("anything") for _ in range(8)]
    yield
    for subscription in held:
        subscription.close()
    registry.store.read(
        ("CONFIG", "SET", "maxclients", before[1] if isinstance(before, list) else before["maxclients"])
    )


def found(settings: Settings) -> list[str]:
    return [check.status for check in check_redis(settings)]


def test_a_redis_that_answers_and_takes_more_connections_is_well(settings: Settings, registry: Registry) -> None:
    assert found(settings) == ["ok", "ok"]


def test_it_warns_before_redis_takes_no_more_connections(settings: Settings, few_clients: None) -> None:
    assert found(settings) == ["ok", "warning"]


def test_a_redis_that_lets_nobody_in_is_told_from_one_that_is_away(settings: Settings) -> None:
    settings.redis_url = settings.redis_url.replace("://", "://nobody:wrong@")
    (check,) = check_redis(settings)
    assert (check.status, "REDIS_URL" in check.remedy) == ("failed", True)
    assert check.finding.startswith("Redis refuses: ")
