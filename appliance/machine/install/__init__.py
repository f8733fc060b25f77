"""Install what the appliance needs beside Python: a Redis server, a program for each pool's browser, and ffmpeg.

What is there and runs is kept, so that running this again is quick and changes nothing.
"""

from appliance.machine import browsers
from appliance.machine.install.apparmor import provide_profile
from appliance.machine.install.browser import browser_version, provide_browser
from appliance.machine.install.ffmpeg import provide_ffmpeg
from appliance.machine.install.nft import provide_nft
from appliance.machine.install.programs import Provided, ProvisionError, Say
from appliance.machine.install.redis import MIN_REDIS, find_redis, provide_redis
from appliance.settings.config import Settings

__all__ = [
    "MIN_REDIS",
    "Provided",
    "ProvisionError",
    "browser_version",
    "find_redis",
    "provide",
    "provide_browser",
    "provide_redis",
]


def provide(settings: Settings, say: Say) -> list[Provided]:
    """Install Redis, nftables for the firewall, the pools' browsers and ffmpeg; `say` announces each longer step.

    Raises ProvisionError, whose message is one sentence that says what to install.
    """
    provided = [provide_redis(settings, say)]
    provided += [provide_nft(say)] if settings.has_firewall else []
    provided += [provide_browser(browser, own, say) for browser, own in browsers.wanted(settings)]
    provided.append(provide_ffmpeg(settings, say))  # which may have come with a browser
    profile = provide_profile(settings, say)
    return [*provided, profile] if profile else provided
