"""The settings file, changed: one step that either leaves settings that go together, or the file as it was."""

from __future__ import annotations

import difflib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dotenv import dotenv_values, set_key, unset_key

from appliance import config
from appliance.errors import SettingsError
from appliance.machine_errors import remedy_of

_CLOSED_TO_OTHERS = 0o7770


def change(values: Mapping[str, str | None]) -> Path:
    """Set settings in the file, and take out those whose value is None; gives its path. All else in it stays.

    Raises SettingsError if a name is none of a setting, if the settings were wrong after it, and if the file
    cannot be written.
    """
    file = config.settings_file()
    require_known(values)
    try:
        if file.exists() and not file.is_file():
            raise SettingsError(f"{file} is no file", "Name one, which need not exist yet: APPLIANCE_ENV.")
        with _copy_of(file) as copy:
            for name, value in values.items():
                _write(copy, name, value)
            config.load(file=copy)
            os.replace(copy, file)
    except OSError as error:
        raise SettingsError(
            f"{file} cannot be changed: {error.strerror}",
            f"{remedy_of(error)} Another file can be named: APPLIANCE_ENV.".lstrip(),
        ) from error
    return file


def require_known(names: Iterable[str]) -> None:
    """Raise SettingsError, with the setting that is likely meant, if a name is none of a setting."""
    known = [name.upper() for name in config.Settings.model_fields]
    for name in names:
        if name not in known:
            meant = difflib.get_close_matches(name, known, n=1)
            raise SettingsError(
                f"{name} is no setting" + (f"; did you mean {meant[0]}?" if meant else ""),
                "`applctl config` names them all.",
            )


@contextmanager
def _copy_of(file: Path) -> Iterator[Path]:
    """Give a copy beside a file, with its owner and mode, but closed to others; a new file's is for this user alone."""
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
    """Settings' names may have any case: the one that is there is replaced."""
    for present in [key for key in dotenv_values(file, interpolate=False) if key.upper() == name]:
        if value is None or present != name:
            unset_key(file, present)
    if value is not None:
        set_key(file, name, value, quote_mode="auto")
