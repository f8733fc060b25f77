"""What is checked before an appliance starts, without a Redis."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.checks.redis import check_token
from appliance.errors import SettingsError
from appliance.grid.token_copy import token_copy_of
from appliance.grid.token_table import Token
from appliance.settings import config
from appliance.settings.config import Settings


def beyond_loopback(run_dir: Path, **settings: str) -> Settings:
    return config.load(host="0.0.0.0", run_dir=run_dir, **settings)


def test_beyond_loopback_a_token_of_this_grid_is_needed(tmp_path: Path) -> None:
    settings = beyond_loopback(tmp_path)
    (check,) = check_token(settings)
    assert (check.status, "the grid has no token" in check.finding) == ("failed", True)
    assert not [*check_token(beyond_loopback(tmp_path, appliance_token="0123456789abcdef"))]
    token_copy_of(settings).join({"digest": Token("ci", 1)})
    assert not [*check_token(settings)]
    assert [*check_token(beyond_loopback(tmp_path, grid_namespace="another"))] == [check]


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"grid": 1, "tokens": {}}x', '{"grid": "GRID", "tokens": {"d": 5}}']
)
def test_a_copy_of_the_tokens_that_is_damaged_opens_no_grid(content: str, tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text(content.replace("GRID", f"unix://{tmp_path}/redis.sock grid"))
    with pytest.raises(SettingsError, match="cannot be understood"):
        list(check_token(beyond_loopback(tmp_path)))
