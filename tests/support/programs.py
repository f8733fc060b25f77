"""Programs that tests need beside the appliance's own: installed, where they are missing."""

from __future__ import annotations

import os
import shutil

from appliance.machine.install.programs import apt_install

SYSTEM = "/usr/sbin:/sbin"  # which an ordinary user's path may lack


def require(program: str, package: str) -> None:
    """See to a program that is on the path, or in Debian's package of that name."""
    if not shutil.which(program, path=f"{os.environ['PATH']}:{SYSTEM}"):
        reason = apt_install(package)
        assert not reason, f"{program} is missing, and apt could not install {package}: {reason}"
