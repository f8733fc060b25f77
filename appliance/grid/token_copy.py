"""The copy of the grid's tokens that an appliance keeps in RUN_DIR: it outlives Redis, which keeps nothing on disk.

It holds digests, never tokens. It belongs to one grid: if the appliance moves to another, it counts as
empty, so that no token of the former grid admits anybody there.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance import files
from appliance.errors import SettingsError
from appliance.grid import token_table
from appliance.grid.token_table import Table, Token
from appliance.run_dir import RunDir
from appliance.settings.config import Settings
from appliance.settings.redis_url import mask


class TokenFile:
    """The file of one RUN_DIR. Every call raises SettingsError if the file cannot be read or understood."""

    def __init__(self, run_dir: Path, redis_url: str, namespace: str, owner: str | None = None) -> None:
        """Set RUN_DIR, what tells the grid from others, and the account that owns the file; it need not exist."""
        self.path = RunDir(run_dir).tokens
        self._grid = f"{mask(redis_url)} {namespace}"
        self._owner = owner

    def read(self) -> dict[str, Token]:
        """Return the table; it is empty if the file is another grid's."""
        try:
            content = json.loads(self.path.read_text())
            return token_table.parse(content["tokens"]) if content["grid"] == self._grid else {}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError, AttributeError) as error:  # to take it for empty might open the grid
            raise SettingsError(
                f"{self.path} cannot be understood: {error}",
                "Remove it; tokens that Redis does not know must then be created again.",
            ) from error
        except OSError as error:
            raise SettingsError(
                f"{self.path} cannot be read: {error.strerror}", "Use the account that owns it."
            ) from error

    def join(self, table: Table) -> dict[str, Token]:
        """Add a table's tokens. Return all tokens; raises OSError if they cannot be written."""
        return self.change(lambda known: token_table.joined(known, table))

    def change(self, change: Callable[[Table], Table]) -> dict[str, Token]:
        """Replace the table by what `change` makes of it, while no other process does. Return the new table.

        Raises OSError if it cannot be written, and what `change` raises.
        """
        with self._alone():
            before = self.read()
            after = _without_expired(change(before))
            if after != before:
                self._write(after)
        return after

    @contextmanager
    def _alone(self) -> Iterator[None]:
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(folder, fcntl.LOCK_UN)  # gevent's os.close, in the proxy, closes a folder only at a later turn
            os.close(folder)

    def _write(self, table: Table) -> None:
        content = {"grid": self._grid, "tokens": token_table.as_data(table)}
        files.replace(self.path, json.dumps(content, indent=1), self._owner)


def token_copy_of(settings: Settings) -> TokenFile:
    """Return the copy of the appliance that has these settings."""
    redis_url = settings.redis_url or f"unix://{settings.paths.redis_socket}"
    return TokenFile(settings.run_dir, redis_url, settings.grid_namespace, settings.service_user)


def keep_boot_token(settings: Settings) -> None:
    """Write the digest of APPLIANCE_TOKEN to the copy of the tokens; the proxy brings it to Redis."""
    if token := settings.appliance_token:
        secret, now_ms = token.get_secret_value(), int(time.time() * 1000)
        token_copy_of(settings).change(lambda table: token_table.with_boot_token(table, secret, now_ms))


def _without_expired(table: Table) -> dict[str, Token]:
    now_ms = time.time() * 1000
    return {digest: token for digest, token in table.items() if not 0 < token.expires_ms < now_ms}
