"""What keeps a process from Redis is told as that."""

from __future__ import annotations

import pytest

from appliance.grid.store import Store
from appliance.request_errors import StoreUnavailable


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "redis+sentinel://127.0.0.1:1/main"])
def test_without_a_thread_to_look_its_address_up_redis_is_unavailable(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("socket.getaddrinfo", no_thread)
    with pytest.raises(StoreUnavailable, match="its address cannot be looked up: can't start new thread"):
        Store(url, "grid").ping()
