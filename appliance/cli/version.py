"""`applctl version`: what is installed."""

from __future__ import annotations

import platform

from appliance import __version__
from appliance.cli.command import command
from appliance.cli.output import Output
from appliance.machine import browsers
from appliance.names import minor_version
from appliance.settings import config as configuration


@command("applctl version", "applctl version --json | jq -r .playwright")
def version(out: Output) -> dict[str, str]:
    """Print the versions of appliance and Playwright.

    Clients need the same major.minor version of Playwright.
    """
    playwright = browsers.driver_version(configuration.load())
    out.show(f"Playwright Appliance {__version__}")
    out.show(f"Playwright {playwright}: for clients of version {minor_version(playwright)}")
    out.show(f"Python {platform.python_version()}")
    return {"appliance": __version__, "playwright": playwright, "python": platform.python_version()}
