"""The command line, `applctl`."""

from appliance.cli.application import main

__all__ = ["main"]
