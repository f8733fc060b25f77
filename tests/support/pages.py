"""Pages that tests open through a grid."""

from __future__ import annotations

import pytest
from playwright.sync_api import Error, Page

from tests.support.waiting import WITHIN_S, until


def said_to(page: Page, within_s: float = WITHIN_S) -> str:
    """Use a page until that fails; returns the client's exception."""
    with pytest.raises(Error) as raised:
        until(lambda: page.evaluate("1") != 1, "the session ends", within_s)
    return str(raised.value).removeprefix("Page.evaluate: ")
