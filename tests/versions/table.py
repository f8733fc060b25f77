"""The tables of docs/compatibility.md: made of `found.json`, which `make compatibility` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

from appliance.machine.drivers import CONFINED
from tests.versions.client import FEATURES, LACKS, YES

DOCS = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"
FOUND = Path(__file__).with_name("found.json")
BEGIN, END = "<!-- `make compatibility` writes this: -->\n", "<!-- up to here -->\n"
BROWSERS = {"chromium": "Chromium", "firefox": "Firefox: Debian's `firefox-esr`, by WebDriver BiDi"}

Found = dict[str, dict[str, dict[str, str]]]  # by browser, by minor: what became of each feature, or of all ("")


def read() -> Found:
    """Return what the last run has found."""
    found: Found = json.loads(FOUND.read_text())
    return found


def write(found: Found) -> None:
    """Keep what was found, and put the tables into the page."""
    FOUND.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    DOCS.write_text(replaced(DOCS.read_text(), rendered(found)))


def replaced(page: str, tables: str) -> str:
    """Return the page with other tables."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + tables + END + rest.partition(END)[2]


def rendered(found: Found) -> str:
    """Return the tables, each with the reasons for what is not offered."""
    tables = ["\n".join(_table(title, found[browser])).strip() for browser, title in BROWSERS.items()]
    return "\n\n".join(tables) + "\n"


def _table(title: str, by_minor: dict[str, dict[str, str]]) -> Iterator[str]:
    yield f"| {title} | {' | '.join(CONFINED)} |"
    yield f"|---|{'---|' * len(CONFINED)}"
    for feature in FEATURES:
        cells = [_result(by_minor[minor], feature).partition(":")[0] for minor in CONFINED]
        yield f"| {feature} | {' | '.join(cells)} |"
    yield ""
    for reason, minors in _reasons(by_minor).items():
        yield from wrap(f"- {', '.join(minors)}: {reason}", 120, subsequent_indent="  ", break_on_hyphens=False)


def _result(results: dict[str, str], feature: str) -> str:
    return results.get("") or results[feature]


def _reasons(by_minor: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    """Return why something is not offered, and in which minors."""
    reasons: dict[str, list[str]] = {}
    for minor in CONFINED:
        for feature, result in by_minor[minor].items():
            if result not in (YES, LACKS):
                reasons.setdefault(f"{feature or 'all'}: {result.partition(': ')[2]}", []).append(minor)
    return reasons
