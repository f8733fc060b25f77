"""Which sessions an operator means."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from appliance.cli.application import main
from appliance.cli.output import Output
from appliance.cli.session_tables import history_table, one_table, sessions_table
from appliance.cli.sessions import choose
from appliance.errors import ApplianceError
from appliance.grid.story import Filter, Story

REQUEST = (
    '{"id": "3f9a1111", "browser": "chromium", "minor": "1.65", "name": "nightly", "client": "127.0.0.1", '
    '"user_agent": "", "proxy": "here.p", "token": "ci", "labels": {"build": "4711"}}'
)
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


@pytest.mark.parametrize(
    "arguments", [["3f9a", "--label", "a=b"], ["--all", "--name", "x"], ["3f9a", "--status", "kept"]]
)
def test_kill_wants_either_ids_or_what_the_sessions_have_in_common(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, ["sessions", "kill", *arguments])
    assert done.exit_code == 2
    assert "Name sessions by their ids, or use --all." in done.output


def test_a_label_is_a_key_with_a_value() -> None:
    done = CliRunner().invoke(main, ["sessions", "list", "--label", "build"])
    assert done.exit_code == 2
    assert "'build' is not KEY=VALUE" in done.output


def test_a_filter_may_have_wildcards_and_wants_each_label() -> None:
    story = Story.parse({"request": REQUEST, "status": "active", "worker": "here.chromium-00.1", "started": "5"})
    assert Filter(name="night*", labels={"build": "47??"}).matches(story)
    assert Filter(worker="chromium-00", status="active").matches(story)
    assert not Filter(labels={"build": "4711", "branch": "*"}).matches(story)
    assert not Filter(name="night").matches(story)
    assert not Filter(token="").matches(story)


def test_tables_of_sessions_show_labels_and_traffic(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    fields = {"request": REQUEST, "worker": "here.chromium-00.1", "started": "5", "granted": "1005"}
    live = Story.parse({**fields, "status": "active", "traffic": "1500 2300000 7 8"})
    past = Story.parse({**fields, "reason": "session closed by operator", "ended_by": "operator"}, ended_ms=61_005)
    Output().show(sessions_table([live], 10_000, "here", is_wide=True))
    Output().show(history_table([past], 71_005, "elsewhere"))
    Output().show(one_table(past))
    said = capsys.readouterr().out
    for part in ("build=4711", "1.5 kB", "2.3 MB", "chromium 1.65", "10 s ago", "1 min", "here.chromium-00.1"):
        assert part in said
    lines = [line.split() for line in said.splitlines()]
    assert ["Waited", "1.0", "s"] in lines
    assert ["Ended", "by", "operator"] in lines
    assert "ago  1 s     1 min" in said, "the history says how long it waited"


@pytest.mark.parametrize(("waited_over_s", "is_found"), [(0, True), (0.9, True), (1, False)])
def test_sessions_are_found_by_how_long_they_waited(waited_over_s: float, is_found: bool) -> None:
    fields = {"request": REQUEST, "worker": "here.chromium-00.1", "started": "5", "granted": "1005"}
    assert Filter(waited_over_s=waited_over_s).matches(Story.parse(fields, ended_ms=61_005)) is is_found
