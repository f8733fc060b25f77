"""Where the appliance is installed."""

from __future__ import annotations

import sys
from pathlib import Path


def installation_root() -> Path:
    """Return the folder that holds supervisord.conf: the checkout, or what was installed beside Python."""
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "supervisord.conf").is_file():
        return checkout
    return Path(sys.prefix) / "share" / "playwright-appliance"
