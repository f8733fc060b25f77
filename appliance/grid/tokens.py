"""A proxy's view of the grid's tokens: which are valid, even when Redis has lost them.

Each request's token is looked up in Redis, so every appliance refuses a revoked token at once. The key is the token's
digest, which a guesser cannot choose, so the time that a look-up takes tells nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from appliance import logs
from appliance.errors import SettingsError
from appliance.grid import token_table
from appliance.grid.grid import Grid
from appliance.grid.token_copy import TokenFile
from appliance.grid.token_table import Principal, Table, digest_of, valid

log = logs.get_logger()

InThread = Callable[[Callable[[], object]], object]


class Tokens:
    """The tokens as one proxy knows them: what Redis said last. The file keeps a copy."""

    def __init__(self, grid: Grid, file: TokenFile, in_thread: InThread = lambda call: call()) -> None:
        """Set the grid and the copy that the appliance keeps; nothing is read yet.

        `in_thread` calls what waits for the disk or other processes, so that nothing else waits with it.
        """
        self._grid = grid
        self._file = file
        self._in_thread = in_thread
        self._known: Table = {}
        self._is_synchronous = False
        self._is_saved = False  # whether the copy has what is known

    def load(self) -> None:
        """Read the appliance's copy; raises SettingsError if it cannot be understood."""
        self._known = token_table.joined(self._known, self._file.read())

    def sync(self) -> None:
        """Read the tokens from Redis, restore there what it has lost, and keep a copy; raises StoreUnavailable."""
        there = self._grid.tokens()
        if any(token_table.is_news(there, digest, token) for digest, token in self._known.items()):
            self._look_into_copy()  # it may have a revocation whose message was lost
            there = self._grid.restore_tokens(self._known)
            log.info("tokens.restored", tokens=len(valid(there)))
        elif not self._is_synchronous:  # Redis also brings over what an older release's table holds
            there = self._grid.restore_tokens(self._known)
        self._is_saved = self._is_saved and there == self._known
        self._known, self._is_synchronous = there, True
        if not self._is_saved:
            self._save()

    def are_required(self) -> bool:
        """Return whether the grid has a token, or had one until it was revoked.

        Asks Redis if nothing is known yet; raises StoreUnavailable.
        """
        if not self._known and not self._is_synchronous:
            self.sync()
        return bool(self._known)

    def are_for_everybody(self) -> bool:
        """Return whether even the appliance's own account needs a token, because APPLIANCE_TOKEN was ever set.

        Asks Redis if nothing is known yet; raises StoreUnavailable.
        """
        return self.are_required() and token_table.has_boot_token(self._known)

    def check(self, token: str) -> Principal | None:
        """Return who has a valid token, else None; raises StoreUnavailable."""
        digest = digest_of(token)
        found = self._grid.check_token(digest)
        if found is None and digest in valid(self._known):  # revoked just now, or Redis has forgotten it
            self.sync()
            found = self._grid.check_token(digest)
        return found

    def recall(self, token: str) -> Principal | None:
        """Return who had a valid token when Redis was last heard, else None: Redis is not asked."""
        found = valid(self._known).get(digest_of(token))
        if found is None or 0 < found.expires_ms < time.time() * 1000:
            return None
        return Principal(found.name, found.is_admin)

    def _look_into_copy(self) -> None:
        try:
            self._in_thread(self.load)
        except SettingsError as error:  # what this proxy knows itself is as good
            log.error("tokens.copy_unreadable", error=str(error))

    def _save(self) -> None:
        try:
            known = self._known
            self._in_thread(lambda: self._file.join(known))
            self._is_saved = known == self._known
        except (OSError, SettingsError) as error:
            log.error("tokens.not_saved", path=str(self._file.path), error=str(error))
