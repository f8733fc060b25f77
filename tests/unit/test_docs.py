"""The references in docs/ are what `applctl` says."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.cli import reference
from appliance.config import Settings

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize(("name", "made"), [("commands", reference.commands), ("settings", reference.settings)])
def test_a_generated_reference_is_up_to_date(name: str, made: object) -> None:
    assert callable(made)
    assert (DOCS / f"{name}.md").read_text() == made(), "run `make docs`"


def test_every_setting_is_in_the_reference() -> None:
    text = reference.settings()
    assert not [name for name in Settings.model_fields if f"| `{name.upper()}` |" not in text]


def test_completion_is_documented_for_each_shell() -> None:
    text = (DOCS / "commands.md").read_text()
    assert all(f"_APPLCTL_COMPLETE={shell}_source" in text for shell in ("bash", "zsh", "fish"))
