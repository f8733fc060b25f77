"""Changes the settings file, in one step: after it, the settings are valid, or the file is as it was."""

from __future__ import annotations

import difflib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dotenv import dotenv_values, set_key, unset_key

from appliance.errors import SettingsError
from appliance.machine_errors import remedy_of
from appliance.settings import config

_CLOSED_TO_OTHERS = 0o7770


def change(values: Mapping[str, str | None]) -> Path:
    """Set settings in the file, and remove those whose value is None. Returns its path. The rest of it stays.

    The new values are checked even where the environment overrides them. Raises SettingsError for an unknown name, for
    settings that would be wrong, and if the file cannot be written.
    """
    file = config.settings_file()
    require_known(values)
    try:
        if file.exists() and not file.is_file():
            raise SettingsError(f"{file} is not a file", "Set APPLIANCE_ENV to a file; it need not exist yet.")
        with _copy_of(file) as copy:
            for name, value in values.items():
                _write(copy, name, value)
            config.load(file=copy, **_set_in(copy, values))
            os.replace(copy, file)
    except OSError as error:
        raise SettingsError(
            f"{file} cannot be changed: {error.strerror}",
            f"{remedy_of(error)} Or set APPLIANCE_ENV to another file.".lstrip(),
        ) from error
    return file


def require_known(names: Iterable[str]) -> None:
    """Raise SettingsError, which suggests the nearest name, if a name is unknown."""
    known = known_names()
    for name in names:
        if name not in known:
            meant = difflib.get_close_matches(name, known, n=1)
            raise SettingsError(
                f"unknown setting {name}" + (f"; did you mean {meant[0]}?" if meant else ""),
                "`applctl config list` lists all settings.",
            )


def known_names() -> list[str]:
    """Return the names of all settings."""
    return [name.upper() for name in config.Settings.model_fields]


def _set_in(file: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the settings of these names as the file has them: as arguments they override the environment."""
    return {name.lower(): value for name, value in dotenv_values(file).items() if name in names and value}


@contextmanager
def _copy_of(file: Path) -> Iterator[Path]:
    """Return a copy beside a file, with its owner and mode, but closed to others. A new file is for its owner alone."""
    handle, name = tempfile.mkstemp(prefix=f"{file.name}.", dir=file.parent)
    os.close(handle)
    copy = Path(name)
    try:
        if file.exists():
            shutil.copyfile(file, copy)
            status = file.stat()
            os.chown(copy, status.st_uid, status.st_gid)
            copy.chmod(status.st_mode & _CLOSED_TO_OTHERS)  # it may come to hold a token or a password
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def _write(file: Path, name: str, value: str | None) -> None:
    """Replace a setting or add it; the name in the file may have any case."""
    for present in [key for key in dotenv_values(file, interpolate=False) if key.upper() == name]:
        if value is None or present != name:
            unset_key(file, present)
    if value is not None:
        set_key(file, name, value, quote_mode="auto")
