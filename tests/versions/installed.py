"""What the clients and drivers of all minors need, in build/: installed once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.appliance import APPLCTL
from tests.support.versions import OTHER_MINORS, OWN_MINOR

BUILD = Path(__file__).resolve().parents[2] / "build"
DRIVERS = BUILD / "drivers"


def python_of(minor: str) -> str:
    """Return the Python that has the client of a minor."""
    if minor == OWN_MINOR:
        return sys.executable
    folder = BUILD / f"clients-{minor}"
    made = folder / "made"
    if not made.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", f"playwright=={minor}.*"], check=True)
        made.touch()
    return str(folder / "bin" / "python")


def drivers_dir() -> Path:
    """Return the folder with the drivers of all minors but the appliance's own."""
    for minor in OTHER_MINORS:
        driver_of(minor)
    return DRIVERS


def driver_of(minor: str, folder: Path = DRIVERS, **settings: object) -> Path:
    """Return the driver of a minor in a folder, which an appliance with these settings adds to."""
    if not (found := list(folder.glob(f"{minor}.*"))):
        values = {"DRIVERS_DIR": folder, "APPLIANCE_ENV": os.devnull, **settings}
        environment = os.environ | {name: str(value) for name, value in values.items()}
        subprocess.run([APPLCTL, "drivers", "add", minor], env=environment, check=True)
        found = list(folder.glob(f"{minor}.*"))
    return found[0]
