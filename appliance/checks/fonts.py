"""A check of fonts: without them pages show boxes in place of letters, and screenshots differ between machines."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

from appliance.checks.check import Check, ok, warning
from appliance.settings.config import Settings

# What fontconfig is asked for (fc-list(1)), and the package of Debian that has it.
_WANTED = {
    "Latin": (":lang=en", "fonts-liberation"),
    "Chinese": (":lang=zh-cn", "fonts-noto-cjk"),
    "Japanese": (":lang=ja", "fonts-noto-cjk"),
    "Korean": (":lang=ko", "fonts-noto-cjk"),
    "emoji": (":lang=und-zsye", "fonts-noto-color-emoji"),
}
_TIMEOUT_S = 20.0


def check_fonts(_: Settings) -> Iterator[Check]:
    """There are fonts for Latin, Chinese, Japanese, Korean and emoji."""
    try:
        missing = {name: package for name, (pattern, package) in _WANTED.items() if not _has(pattern)}
    except FileNotFoundError:
        yield warning("fonts", "fontconfig is not installed, so fonts cannot be found", _install("fontconfig"))
        return
    if missing:
        finding = f"no font for {', '.join(missing)}: pages show boxes instead"
        yield warning("fonts", finding, _install(*sorted(set(missing.values()))))
    else:
        yield ok("fonts", "Latin, Chinese, Japanese, Korean and emoji")


def _has(pattern: str) -> bool:
    command = ["fc-list", pattern, "family"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    return bool(done.stdout.strip())


def _install(*packages: str) -> str:
    return f"As root: apt-get install {' '.join(packages)}"
