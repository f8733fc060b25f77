"""The references in docs/ are what `applctl` says, and its pages are complete and lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance import errors
from appliance.cli import reference
from appliance.settings.config import Settings

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


def test_the_index_names_every_page() -> None:
    index = (DOCS / "README.md").read_text()
    assert not [page.name for page in DOCS.glob("*.md") if page.name != "README.md" and f"]({page.name})" not in index]


@pytest.mark.parametrize("page", [*sorted(DOCS.glob("*.md")), DOCS.parent / "README.md"], ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


def test_troubleshooting_explains_every_status_that_refuses_a_session() -> None:
    pages_only = {405, 408, 426, 431, 500}  # for who is no Playwright client
    statuses = {one.status for one in vars(errors).values() if isinstance(one, type) and hasattr(one, "status")}
    text = (DOCS / "troubleshooting.md").read_text()
    assert not [status for status in statuses - pages_only if f"| {status} |" not in text]
