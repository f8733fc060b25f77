"""Which versions of Playwright the package index has that pip is configured for."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping

from appliance.errors import ApplianceError
from appliance.machine import kernel
from appliance.machine.install.pip_words import UNREACHABLE, UNREACHABLE_HINT, why_unreachable
from appliance.names import minor_version

_LISTED = re.compile(r"^Available versions: (.+)$", re.MULTILINE)
_NOTHING = "No matching distribution found"
_COMMAND = ["index", "versions", "playwright", "--only-binary=:all:", "--no-input", "--disable-pip-version-check"]
_PATIENCE = ["--retries=1", "--timeout=3"]  # seconds, of which an index that answers needs one
_TIMEOUT_S = 60
_LEAST_URGENT = 19  # as nice(2) counts


class IndexUnreachable(ApplianceError):
    """The package index does not answer."""

    hint = UNREACHABLE_HINT


def offered_minors(pip_environment: Mapping[str, str]) -> frozenset[str] | None:
    """Return the minor versions that the index has for this machine; None if pip does not say.

    It takes a second; seven if the index does not answer. Raises IndexUnreachable.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pip", *_COMMAND, *_PATIENCE],
        env={**os.environ, **pip_environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=_TIMEOUT_S, check=False, preexec_fn=kernel.bound_to_parent(signal.SIGKILL, _give_way),
    )  # fmt: skip
    if listed := _LISTED.search(done.stdout):
        return frozenset(minor_version(version) for version in listed[1].split(", "))
    if UNREACHABLE.search(done.stderr):
        raise IndexUnreachable(why_unreachable(done.stderr))
    return frozenset() if _NOTHING in done.stderr else None


def _give_way() -> None:
    os.nice(_LEAST_URGENT)
