"""The grid's tokens as `applctl` changes them: in Redis and in the appliance's copy.

While the appliance's own Redis does not run, there is only the copy; the proxy reads it at the next start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from appliance.errors import ApplianceError
from appliance.grid import token_table
from appliance.grid.grid import Grid, open_grid
from appliance.grid.token_copy import TokenFile, token_copy_of
from appliance.grid.token_table import Role, Table, Token
from appliance.machine.environment import started_settings
from appliance.machine.folders import prepare_run_dir
from appliance.settings.config import Settings

_TEMPORARY_S = 600.0  # more than a session of `applctl`'s own lasts, which revokes its token at its end


class Ledger:
    """All tokens. Every method raises StoreUnavailable if Redis is away, and OSError if the copy cannot be written."""

    def __init__(self, copy: TokenFile, grid: Grid | None, prepare: Callable[[], None] | None = None) -> None:
        """Set the appliance's copy, and the grid, or None while its Redis does not run.

        `prepare` makes the copy's folder, before the first change.
        """
        self._copy, self._grid, self._prepare = copy, grid, prepare
        if grid:
            grid.restore_tokens(copy.read())  # if Redis has just lost them

    def table(self) -> Table:
        """Return all tokens by their digests."""
        return self._grid.tokens() if self._grid else self._copy.read()

    def used_ms(self) -> dict[str, int]:
        """Return when tokens were last used, by their digests, as far as it is known."""
        return self._grid.tokens_used_ms() if self._grid else {}

    def create(self, digest: str, name: str, role: Role = Role.CLIENT) -> bool:
        """Add a token. Return False if a valid one has that name already."""

        def add(table: Table) -> Table:
            is_taken = any(token.name == name for token in token_table.valid(table).values())
            return table if is_taken else {**table, digest: Token(name, _now_ms(), role=role)}

        if digest not in self._change_copy(add, self.table()):  # first: what cannot be kept is not created
            return False
        if self._grid is None:
            return True
        created = False
        try:
            created = self._grid.create_token(digest, name, role=role)
        finally:
            if not created:  # Redis is away, or somebody else has just created one of that name
                self._change_copy(lambda table: {key: one for key, one in table.items() if key != digest})
        return created

    def revoke(self, names: Collection[str]) -> None:
        """Revoke the valid tokens of these names; in Redis first: that counts even if the copy cannot be written."""
        if self._grid:
            for name in names:
                self._grid.revoke_token(name)
        try:
            self._change_copy(lambda table: token_table.revoked(table, names, _now_ms()), self.table())
        except OSError as error:
            if self._grid is None:
                raise
            raise ApplianceError(
                f"revoked in the grid, but not in {self._copy.path}: {error.strerror}",
                f"If Redis lost its data now, the token would be valid again. Free some space, then repeat: "
                f"applctl token revoke {' '.join(names)}",
            ) from error

    def join(self, table: Table) -> None:
        """Add tokens that are not known; one that is revoked, here or there, stays revoked."""
        if self._grid:
            self._grid.restore_tokens(table)
        self._change_copy(lambda known: token_table.joined(known, table), self.table())

    def _change_copy(self, change: Callable[[Table], Table], known: Table | None = None) -> Table:
        """Join what is `known` to the copy, and change it, if there is a RUN_DIR. Return the changed table."""
        if self._prepare:
            self._prepare()
        if not self._copy.path.parent.is_dir():
            return change(known or {})
        return self._copy.change(lambda table: change(token_table.joined(table, known or {})))


@contextmanager
def open_ledger(settings: Settings) -> Iterator[Ledger]:
    """Return the ledger of these settings until the block's end. Raises StoreUnavailable."""
    copy = token_copy_of(settings)
    if not settings.redis_url and started_settings(settings) is None:
        yield Ledger(copy, None, lambda: prepare_run_dir(settings))
        return
    with open_grid(settings) as grid:
        yield Ledger(copy, grid)


@contextmanager
def temporary_token(settings: Settings, lives_s: float | None = None) -> Iterator[str]:
    """Return a token for a session of this program, "" if the grid requires none.

    It is revoked when the block ends, and expires after `lives_s` if this program is killed.
    """
    with open_grid(settings) as grid:
        if settings.allow_anonymous or not grid.restore_tokens(token_copy_of(settings).read()):
            yield ""
            return
        secret = token_table.new_token()
        digest = token_table.digest_of(secret)
        name = f"applctl-{digest[:8]}"
        grid.create_token(digest, name, lives_s or _TEMPORARY_S)
        try:
            yield secret
        finally:
            grid.revoke_token(name)


def _now_ms() -> int:
    return int(time.time() * 1000)
