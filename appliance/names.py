"""The names that all parts share: browsers, versions of Playwright, ids, and what marks processes."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

MARKER = "APPLIANCE_WORKSPACE"  # the variable that names a worker's folder to its driver, and so to its browser
CHROMIUM_CHANNELS = ("chromium-headless-shell", "chromium", "chrome", "msedge")
SESSIONS_PATH = "/session"  # of the URL at which the driver serves its clients: the socket itself is what is closed


BESIDE = "/browser"  # behind the minor of a pool that takes the sessions with isolation=browser of the pool beside it


class Isolation(StrEnum):
    """What a session has for itself."""

    CONTEXT = "context"
    BROWSER = "browser"


class Protocol(StrEnum):
    """What a session's client speaks."""

    PLAYWRIGHT = "playwright"
    CDP = "cdp"


class Browser(StrEnum):
    """The browsers that Playwright drives, by the names that its clients send."""

    CHROMIUM = "chromium"
    FIREFOX = "firefox"
    WEBKIT = "webkit"


class WorkerId(NamedTuple):
    """The parts of a worker's id, "<appliance>.<name>.<hex>"; only the appliance's name may contain dots."""

    appliance: str
    name: str
    suffix: str

    @classmethod
    def parse(cls, text: str) -> WorkerId:
        """Return the parts of an id; "" for each missing one."""
        return cls(*("", "", *text.rsplit(".", 2))[-3:])


def appliance_of_proxy(proxy_id: str) -> str:
    """Return the appliance of a proxy, whose id is "<appliance>.<hex>"."""
    return proxy_id.rpartition(".")[0]


def without_beside(minor: str) -> str:
    """Return the Playwright minor of a pool's minor: "1.65" of "1.65/browser"."""
    return minor.removesuffix(BESIDE)


def minor_version(version: str) -> str:
    """Return the major.minor of a version: "1.65" of "1.65.2"."""
    return ".".join(version.split(".")[:2])
