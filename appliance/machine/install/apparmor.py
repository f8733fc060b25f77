"""A profile of AppArmor for Chromium, where the kernel gives user namespaces to no program that has none.

Ubuntu does so since 23.10 (ubuntu.com/blog, "Restricted unprivileged user namespaces"). The profile allows all that is
allowed without it, and namespaces; Ubuntu has such ones for the browsers of its own packages.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from appliance.machine import browsers, sandbox
from appliance.machine.accounts import browser_prefix
from appliance.machine.install.programs import Provided, Say, as_root, run
from appliance.names import Browser
from appliance.settings.config import Settings

_FOLDER = Path("/etc/apparmor.d")
_PARSER = "apparmor_parser"
_TIMEOUT_S = 60
_PROFILE = """\
# Made by `applctl setup`, so that Chromium can make the user namespaces of its sandbox.
abi <abi/4.0>,
include <tunables/global>

profile {name} "{program}" flags=(unconfined) {{
  userns,
}}
"""


def provide_profile(settings: Settings, say: Say) -> Provided | None:
    """Install a profile if Chromium needs one for its sandbox; None if it needs none. `note` says why it failed."""
    if not settings.workers_of(Browser.CHROMIUM) or settings.chromium_sandbox == "false":
        return None
    program, prefix = browsers.find(Browser.CHROMIUM, settings).path.resolve(), browser_prefix(settings)
    if not sandbox.is_restricted_by_apparmor() or sandbox.works(program, prefix):
        return None
    name = f"playwright-appliance-{hashlib.sha256(str(program).encode()).hexdigest()[:8]}"
    say("installing an AppArmor profile for Chromium")
    reason = _install(_FOLDER / name, _PROFILE.format(name=name, program=_literally(program)))
    sandbox.works.cache_clear()
    if not reason and sandbox.works(program, prefix):
        return Provided("apparmor", str(_FOLDER / name), "profile", "installed")
    why = reason or "Chromium has no sandbox with it either"
    return Provided("apparmor", "", "", "missing", f"the AppArmor profile for Chromium could not be installed: {why}")


def _install(file: Path, text: str) -> str:
    """Write the profile and load it. Return why that failed, or ""."""
    prefix, parser = as_root(), shutil.which(_PARSER) or shutil.which(_PARSER, path="/usr/sbin:/sbin")
    if not parser:
        return f"there is no program {_PARSER}: install the package apparmor"
    if prefix is None:
        return "this user may not do that (neither root nor sudo without a password)"
    with tempfile.NamedTemporaryFile("w") as draft:
        draft.write(text)
        draft.flush()
        return run([*prefix, "install", "-m", "644", draft.name, str(file)], _TIMEOUT_S) or run(
            [*prefix, parser, "--replace", str(file)], _TIMEOUT_S
        )


def _literally(path: Path) -> str:
    """Write a path so that none of its characters is a pattern (apparmor.d(5), "Globbing")."""
    return "".join(f"\\{one}" if one in '*?[]{}^\\"' else one for one in str(path))
