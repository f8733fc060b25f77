import os

from playwright.sync_api import Page, expect


def test_a_page_is_shown(page: Page) -> None:
    page.goto(os.environ["SITE"])
    expect(page).to_have_title("A real page")
