"""An image that was built with BROWSERS=chromium,firefox; another has no such tests."""

from __future__ import annotations

import pytest
from playwright.sync_api import Error, sync_playwright

from tests.oci.container import Image, Run

TOKEN = "a-token-from-the-environment"
SETTINGS = {
    "APPLIANCE_TOKEN": TOKEN,
    "CHROMIUM_WORKERS": "0",
    "SPARE_WORKERS": "0",
    "POOLS": "firefox@1.62:1",
    "DEFAULT_BROWSER_TYPE": "firefox",
}


@pytest.fixture(autouse=True)
def has_firefox(image: Image) -> None:
    if not (image.root / "usr" / "bin" / "firefox-esr").exists():
        pytest.skip("this image has no Firefox: BROWSERS=chromium,firefox make oci-test")


def test_its_firefox_is_served_by_the_driver_that_the_image_has_for_it(run: Run) -> None:
    container = run(environment=SETTINGS, read_only=True).await_healthy()
    with sync_playwright() as playwright, pytest.raises(Error, match=r"Served: 1\.62"):
        playwright.firefox.connect(container.endpoint, headers={"Authorization": f"Bearer {TOKEN}"})
    assert "came with the image" in container.run("applctl", "drivers", "remove", "1.62").stderr
    assert container.stop()[0] == 0
