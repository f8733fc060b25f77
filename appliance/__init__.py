"""The shared core of the Playwright Appliance and its command line, `applctl`."""

from pathlib import Path

__version__ = (Path(__file__).parent / "VERSION").read_text().strip()
