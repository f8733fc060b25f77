"""Sessions of versions that nobody serves, and appliances that get these on demand, or fail to."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from appliance.grid.values import Wish
from appliance.names import Browser
from tests.model.model import TARGET, TTL_MS, Model
from tests.model.sessions import Sessions
from tests.model.workers import ANY

HOLD_MS = 7_500
PROVIDED = st.sets(st.sampled_from(["1.62", "1.63"]))


def is_open(model: Model, wish: tuple[str, str]) -> bool:
    """Return whether sessions still have a wish that nobody works on."""
    fields = model.wishes[wish]
    return fields["status"] != "failed" and not model.is_held(wish) and int(fields["wanted_until"]) >= model.now


def open_wishes(model: Model) -> list[tuple[str, str]]:
    """Return the open wishes, the oldest first."""
    by_age = sorted(model.zset("wanted").items(), key=lambda item: (item[1], item[0]))
    names = [(name.split()[0], name.split()[1]) for name, _ in by_age]
    return [name for name in names if is_open(model, name)]


def providers_left(model: Model, minor: str, failed_by: str) -> set[str]:
    """Return the appliances that can get a version and have not failed to."""
    return {name for name, until in model.zset("providers", minor).items() if until >= model.now} - {*failed_by.split()}


class Wishes(Sessions):
    """The providers of two appliances."""

    @rule(appliance=st.sampled_from(sorted(TARGET)), minors=PROVIDED, lacking=PROVIDED, there=PROVIDED)
    def look_for_a_wish(self, appliance: str, minors: set[str], lacking: set[str], there: set[str]) -> None:
        """Say what an appliance provides; it gets what it holds, or the oldest wish, or one that needs no fetching."""
        before, is_drained = self.model, appliance in self.model.drained
        held = {wish: f["by"] for wish, f in before.wishes.items() if before.is_held(wish)}
        reasons = dict.fromkeys(lacking - minors, "no index")
        found = self.grid.take_wish(appliance, minors, TTL_MS / 1000, HOLD_MS / 1000, reasons, there)
        self.settle()
        taken = (found.browser.value, found.minor) if found else None
        own = [wish for wish, by in held.items() if by == appliance]
        open_ones = [
            wish for wish in open_wishes(before) if wish[1] in minors and self.may_take(appliance, wish, before)
        ]
        if len(own) < len(held):  # another one is at work
            open_ones = [wish for wish in open_ones if wish[1] in there]
        if is_drained:
            assert taken is None
        elif own:
            assert taken in own
        else:
            assert taken == next(iter(open_ones), None)
        for minor in minors | reasons.keys():
            provides = self.model.zset("providers", minor).get(appliance, 0) >= self.now
            assert provides == (minor in minors and not is_drained)
        if taken:
            assert self.model.wishes[taken]["by"] == appliance
            assert self.model.is_held(taken)

    def may_take(self, appliance: str, wish: tuple[str, str], before: Model) -> bool:
        """Return whether an appliance has not failed a wish, or nobody else is left for it."""
        failed_by = before.wishes[wish].get("failed_by", "")
        return appliance not in failed_by.split() or not providers_left(self.model, wish[1], failed_by)

    @precondition(lambda self: any("by" in fields for fields in self.model.wishes.values()))
    @rule(which=ANY, is_own=st.booleans(), status=st.sampled_from(["held", "failed", "full", "done"]))
    def report_on_a_wish(self, which: int, is_own: bool, status: str) -> None:
        """Let the appliance that took a wish last say what became of it, late perhaps; or another one, in vain."""
        names = sorted(wish for wish, fields in self.model.wishes.items() if "by" in fields)
        name = names[which % len(names)]
        before = dict(self.model.wishes[name])
        appliance = before["by"] if is_own else next(one for one in TARGET if one != before["by"])
        wish = Wish(Browser(name[0]), name[1])
        counts = self.grid.report_wish(appliance, wish, status, "words", HOLD_MS / 1000)
        self.settle()
        assert counts == (is_own and before["status"] == "held")
        after = self.model.wishes.get(name)
        if not counts:
            assert after == before
        elif status == "done":
            assert after is None
        else:
            assert after
            failed_by = f"{before.get('failed_by', '')} {appliance}"
            is_left = status != "held" and bool(providers_left(self.model, name[1], failed_by))
            assert after["status"] == ("held" if status == "held" else "open" if is_left else "failed")
            assert is_left or after["progress" if status == "held" else "failure"] == "words"
            if not is_left and (status == "full" or (status == "failed" and "was_full" in before)):
                assert int(after["retry_at"]) == self.now + 10_000
