"""Which sessions an operator means."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from appliance.cli.application import main
from appliance.cli.sessions import choose
from appliance.errors import ApplianceError

KNOWN = ["3f9a1111", "3f9b2222", "77aa3333"]


@pytest.mark.parametrize(("beginning", "meant"), [("7", "77aa3333"), ("3f9a", "3f9a1111"), ("3f9b2222", "3f9b2222")])
def test_a_session_may_be_named_by_any_beginning_that_only_it_has(beginning: str, meant: str) -> None:
    assert choose(beginning, KNOWN) == meant


@pytest.mark.parametrize(
    ("beginning", "why"),
    [
        ("3f9", "2 sessions begin with 3f9"),
        ("77b", "there is no session 77b"),
        ("", "there is no session "),
    ],
)
def test_a_beginning_that_none_or_several_have_is_refused(beginning: str, why: str) -> None:
    with pytest.raises(ApplianceError, match=f"^{why}$"):
        choose(beginning, KNOWN)


@pytest.mark.parametrize("arguments", [[], ["3f9a", "--all"]])
def test_kill_wants_either_sessions_or_all(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, ["sessions", "kill", *arguments])
    assert done.exit_code == 2
    assert "Name sessions by their ids, or use --all." in done.output
