"""Where `applctl` changes the tokens: in Redis, or in the appliance's copy while its own Redis does not run."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Protocol

from appliance.errors import ApplianceError, StoreUnavailable
from appliance.grid import token_table
from appliance.grid.grid import Grid as State
from appliance.grid.grid import open_grid
from appliance.grid.token_copy import token_copy_of
from appliance.grid.token_table import Table, Token
from appliance.machine.environment import started_settings
from appliance.machine.folders import prepare_run_dir
from appliance.settings.config import Settings

_TEMPORARY_S = 600.0  # more than a session of `applctl`'s own lasts, which revokes its token at its end


class Ledger(Protocol):
    """Where the tokens can be changed now."""

    def table(self) -> Table:
        """Return all tokens by their digests."""

    def used_ms(self) -> dict[str, int]:
        """Return when tokens were last used, in milliseconds, as far as it is known."""

    def create(self, digest: str, name: str) -> bool:
        """Add a token. Returns False if a valid one has that name already."""

    def revoke(self, names: Collection[str]) -> None:
        """Revoke the valid tokens of these names."""


class GridLedger:
    """The tokens in Redis. The appliance's copy in a file follows at once, in case Redis loses its data."""

    def __init__(self, grid: State, settings: Settings) -> None:
        self._grid = grid
        self._settings = settings
        grid.restore_tokens(token_copy_of(settings).read())  # if Redis has just lost them

    def table(self) -> Table:
        return self._grid.tokens()

    def used_ms(self) -> dict[str, int]:
        return self._grid.tokens_used_ms()

    def create(self, digest: str, name: str) -> bool:
        """Write the file first, so that a token that cannot be kept is not created."""
        there = self._grid.tokens()
        if _is_taken(name, there):
            return False
        self._keep({**there, digest: Token(name, _now_ms())})
        try:
            created = self._grid.create_token(digest, name)
        except StoreUnavailable:
            self._forget(digest)
            raise
        if not created:  # somebody else has just created one of that name
            self._forget(digest)
        return created

    def revoke(self, names: Collection[str]) -> None:
        """Revoke in Redis first: that counts, even if the file cannot be written."""
        for name in names:
            self._grid.revoke_token(name)
        try:
            self._keep(self._grid.tokens())
        except OSError as error:
            raise ApplianceError(
                f"revoked in the grid, but not in {token_copy_of(self._settings).path}: {error.strerror}",
                f"If Redis lost its data now, the token would be valid again. Free some space, then repeat: "
                f"applctl token revoke {' '.join(names)}",
            ) from error

    def _keep(self, table: Table) -> None:
        if self._settings.run_dir.is_dir():
            token_copy_of(self._settings).join(table)

    def _forget(self, digest: str) -> None:
        if self._settings.run_dir.is_dir():
            token_copy_of(self._settings).change(
                lambda table: {key: one for key, one in table.items() if key != digest}
            )


class FileLedger:
    """The tokens of an appliance that does not run and has its own Redis. Its proxy reads them at the next start."""

    def __init__(self, settings: Settings) -> None:
        prepare_run_dir(settings)
        self._file = token_copy_of(settings)

    def table(self) -> Table:
        return self._file.read()

    def used_ms(self) -> dict[str, int]:
        return {}

    def create(self, digest: str, name: str) -> bool:
        def with_it(table: Table) -> Table:
            return table if _is_taken(name, table) else {**table, digest: Token(name, _now_ms())}

        return digest in self._file.change(with_it)

    def revoke(self, names: Collection[str]) -> None:
        for name in names:
            self._file.change(lambda table, name=name: token_table.revoked(table, name, _now_ms()))  # type: ignore[misc]


@contextmanager
def open_ledger(settings: Settings) -> Iterator[Ledger]:
    """Return the ledger of these settings: the file if the grid does not run. Raises StoreUnavailable."""
    if not settings.redis_url and started_settings(settings) is None:
        yield FileLedger(settings)
        return
    with open_grid(settings) as grid:
        yield GridLedger(grid, settings)


@contextmanager
def temporary_token(settings: Settings) -> Iterator[str]:
    """Return a token for a session of this program, "" if the grid requires none. It is revoked when the block ends."""
    with open_grid(settings) as grid:
        if settings.allow_anonymous or not grid.restore_tokens(token_copy_of(settings).read()):
            yield ""
            return
        secret = token_table.new_token()
        digest = token_table.digest_of(secret)
        name = f"applctl-{digest[:8]}"
        grid.create_token(digest, name, _TEMPORARY_S)
        try:
            yield secret
        finally:
            grid.revoke_token(name)


def _is_taken(name: str, table: Table) -> bool:
    return any(token.name == name for token in token_table.valid(table).values())


def _now_ms() -> int:
    return int(time.time() * 1000)
