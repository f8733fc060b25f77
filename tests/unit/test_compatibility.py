"""The tables of docs/compatibility.md are what `make compatibility` found, for what is served and tried today."""

from __future__ import annotations

import re

from appliance.machine.drivers import CONFINED
from tests.versions import table
from tests.versions.client import FEATURES, LACKS, YES


def test_the_tables_are_those_of_the_last_run() -> None:
    page = table.DOCS.read_text()
    assert page == table.replaced(page, table.rendered(table.read())), "run `make compatibility`"


def test_the_last_run_tried_each_feature_with_each_version_that_is_served() -> None:
    found = table.read()
    assert found.keys() == table.BROWSERS.keys()
    assert [list(by_minor) for by_minor in found.values()] == [list(CONFINED)] * len(found), "run `make compatibility`"
    tried = [list(results) for by_minor in found.values() for results in by_minor.values() if "" not in results]
    assert tried
    assert all(features == list(FEATURES) for features in tried), "run `make compatibility`"


def test_what_is_not_offered_says_why() -> None:
    results = [one for by_minor in table.read().values() for results in by_minor.values() for one in results.values()]
    assert not [one for one in results if one not in (YES, LACKS) and not re.fullmatch(r"(no|\?): .+", one)]


def test_chromium_is_served_to_every_version() -> None:
    assert not [one for results in table.read()["chromium"].values() for one in results.values() if one[:2] == "no"]


def test_the_table_of_versions_names_those_that_are_served() -> None:
    rows = re.findall(r"^\| (1\.\d+) \| yes \|", table.DOCS.read_text(), re.MULTILINE)
    assert rows == list(CONFINED)
