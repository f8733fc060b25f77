"""The Playwright versions that are served. `python -m tests.support.versions` prints all but the own one."""

from __future__ import annotations

from appliance.machine import browsers
from appliance.machine.drivers import CONFINED
from appliance.names import minor_version
from appliance.settings.config import Settings

OWN_MINOR = minor_version(browsers.driver_version(Settings()))
OTHER_MINORS = [minor for minor in CONFINED if minor != OWN_MINOR]

if __name__ == "__main__":
    print(*OTHER_MINORS)
