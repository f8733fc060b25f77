"""Which appliance looks after a machine's firewall rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import FirewallError
from appliance.machine.firewall import holder

ONE, OTHER = Path("/run/one"), Path("/run/other")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holder, "_FOLDER", tmp_path)


def test_one_appliance_holds_the_rules_and_another_is_refused_until_it_ends() -> None:
    held = holder.hold(ONE)
    holder.require_unheld(ONE)
    for ask in (holder.hold, holder.require_unheld):
        with pytest.raises(FirewallError, match="the appliance in /run/one already looks after"):
            ask(OTHER)
    held.close()
    holder.require_unheld(OTHER)
    holder.hold(OTHER).close()


def test_of_one_appliance_one_process_holds_the_rules() -> None:
    with holder.hold(ONE), pytest.raises(FirewallError, match="another process of this appliance"):
        holder.hold(ONE)


def test_only_the_files_owner_may_lock_it_also_if_an_earlier_release_made_it() -> None:
    for _ in ("new", "made before"):
        with holder.hold(ONE):
            assert holder._file().stat().st_mode & 0o777 == 0o600
        holder._file().chmod(0o644)


def test_nobody_holds_rules_that_nobody_asked_for() -> None:
    holder.require_unheld(ONE)
