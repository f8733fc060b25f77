"""Which environment variables of the shell that starts the appliance count: those below, and no others.

So the same settings make the same grid from every shell. A proxy, a debugger's switches, a language or a time zone that
a shell happens to have reach neither the appliance's processes nor its browsers. There are settings for them:
BROWSER_PROXY, BROWSER_TIMEZONE, BROWSER_LANGUAGE, BROWSER_ENV. `applctl` itself, and what it runs in the foreground
(apt, Playwright's downloads), have the whole environment.
"""

from __future__ import annotations

from collections.abc import Mapping

# Where programs, libraries, authorities and browsers are found.
_EVERYWHERE = frozenset(
    {
        *("PATH", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"),
        *("PLAYWRIGHT_BROWSERS_PATH", "DBUS_SYSTEM_BUS_ADDRESS", "FONTCONFIG_FILE", "FONTCONFIG_PATH"),
        *("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY"),  # for HEADLESS=false
    }
)

# What leads to the files of the account that starts the appliance: of no use to another one.
_OF_THE_ACCOUNT = frozenset(
    {
        *("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"),
        "DBUS_SESSION_BUS_ADDRESS",
    }
)
NAMES = _EVERYWHERE | _OF_THE_ACCOUNT


def inherited(environment: Mapping[str, str], *, same_account: bool = True) -> dict[str, str]:
    """Return the part of an environment that processes are given; another account gets nothing of the starter's own."""
    names = NAMES if same_account else _EVERYWHERE
    return {name: value for name, value in environment.items() if name in names}
