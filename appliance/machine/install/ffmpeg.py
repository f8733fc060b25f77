"""The program that records videos. A grid without it serves everything else, so it starts all the same."""

from __future__ import annotations

from appliance.errors import LaunchError
from appliance.machine import ffmpeg
from appliance.machine.accounts import browser_prefix
from appliance.machine.install.programs import How, Provided, Say, apt_install
from appliance.settings.config import Settings


def provide_ffmpeg(settings: Settings, say: Say) -> Provided:
    """Return the program; install it if it is missing. Without one, `note` says what does not work."""
    try:
        return _usable(settings, "found")
    except LaunchError:
        say("installing ffmpeg with apt")
    reason = apt_install("ffmpeg")
    try:
        return _usable(settings, "installed")
    except LaunchError as error:
        why = f" (apt: {reason})" if reason else ""
        return Provided("ffmpeg", "", "", "missing", f"{error}{why}. {error.hint}")


def _usable(settings: Settings, how: How) -> Provided:
    program = ffmpeg.require_usable(settings, browser_prefix(settings))
    return Provided("ffmpeg", str(program.path), "VP8, VP9", how)
