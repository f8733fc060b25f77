"""The program that records videos: Playwright's own download of ffmpeg, else the system's.

The driver looks for it at one place alone, `<downloads>/ffmpeg-<revision>/ffmpeg-linux` (`EXECUTABLE_PATHS` and
`VideoRecorder` in its coreBundle.js; the revision is in its browsers.json). All else that it could look for there is
told to it by path. So where there is no download, a worker shows it a folder with a link to the system's program.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from appliance.errors import LaunchError
from appliance.machine.browsers import (
    Program,
    downloads_folder,
    driver_folder,
    folder_names,
    installed_driver,
    is_program,
)
from appliance.settings.config import Settings

_NAME, _PROGRAM = "ffmpeg", "ffmpeg-linux"
_TIMEOUT_S = 20.0

# What drivers record with: VP8, and of late VP9.
_ENCODERS = ("libvpx", "libvpx-vp9")


HINT = "Run `applctl setup`; or as root: apt-get install ffmpeg."


def find(settings: Settings) -> Program:
    """Return the program that workers record videos with; raises LaunchError if there is none."""
    for program in _candidates(settings):
        return program
    raise LaunchError("ffmpeg is not installed: sessions cannot record videos", HINT)


def require_usable(settings: Settings, prefix: Sequence[str] = ()) -> Program:
    """Return the first program that can record videos; `prefix` tries it as another account. Raises LaunchError."""
    complaints = []
    for program in _candidates(settings):
        if not (why := _complaint(program, prefix)):
            return program
        complaints.append(why)
    if complaints:
        raise LaunchError(f"sessions cannot record videos: {'; '.join(complaints)}", HINT)
    return find(settings)


def _candidates(settings: Settings) -> Iterator[Program]:
    drivers = [driver_folder(settings), *([installed_driver()] if settings.playwright_driver else [])]
    for path in (path for driver in drivers for path in _downloads(driver)):
        if is_program(path):
            yield Program(path, "playwright")
    if found := shutil.which(_NAME):
        yield Program(Path(found), "system")


def _downloads(driver: Path) -> list[Path]:
    return [downloads_folder(driver) / name / _PROGRAM for name in folder_names(_NAME, driver)]


def show_driver(settings: Settings, parent: Path) -> Path:
    """Return what PLAYWRIGHT_BROWSERS_PATH is for a driver to find ffmpeg; makes a folder of links if need be.

    Raises LaunchError if there is no ffmpeg, OSError if the folder in `parent` cannot be made.
    """
    program, driver = find(settings), driver_folder(settings)
    if program.path in _downloads(driver):
        return downloads_folder(driver)
    shown = parent / "programs"
    for name in folder_names(_NAME, driver):
        (shown / name).mkdir(parents=True)
        (shown / name / _PROGRAM).symlink_to(program.path)
    return shown


def _complaint(program: Program, prefix: Sequence[str]) -> str:
    try:
        command = [*prefix, str(program.path), "-hide_banner", "-encoders"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return f"{program.path} does not run"
    words = done.stdout.decode(errors="replace").split()
    missing = [one for one in _ENCODERS if one not in words]
    if missing and program.source == "system":  # Playwright's has what its own driver asks for
        return f"{program.path} has no {' and no '.join(missing)}"
    return ""
