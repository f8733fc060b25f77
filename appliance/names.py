"""The names that all parts share: browsers, and the versions of Playwright."""

from __future__ import annotations

from enum import StrEnum


class Browser(StrEnum):
    """The browsers that Playwright drives, by the names that its clients send."""

    CHROMIUM = "chromium"
    FIREFOX = "firefox"
    WEBKIT = "webkit"


def minor_version(version: str) -> str:
    """Give the major.minor of a version: "1.65" of "1.65.2"."""
    return ".".join(version.split(".")[:2])
