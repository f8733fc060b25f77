"""Keep the firewall in force while the appliance runs: rules that were flushed or changed are loaded again.

It is a process of its own, because only root may look at the rules, and beside it only supervisord is root's. It also
loads them when networks, resolvers or the addresses of names change.

If they cannot be loaded, pages reach private networks. The appliance is then drained until they are: no proxy gives its
workers sessions, and its /readyz fails. The same holds while another appliance has this machine's rules. Redis has the
drain's reason: by it a keeper that was started again knows its own drain from an operator's.
"""

from __future__ import annotations

import signal
import sys
import time
from typing import IO

from appliance import logs
from appliance.errors import ApplianceError, FirewallError, SettingsError
from appliance.grid.grid import Grid, open_grid
from appliance.grid.records import ApplianceStatus
from appliance.machine import kernel, pool_file
from appliance.machine.firewall import holder
from appliance.machine.firewall.nft import apply, is_loaded
from appliance.machine.firewall.ruleset import ruleset
from appliance.machine.firewall.values import values_of
from appliance.request_errors import StoreUnavailable
from appliance.settings import config
from appliance.settings.config import Settings

INTERVAL_S = 5.0
REASON = "its firewall rules are gone, and cannot be loaded again"

log = logs.get_logger()


class Keeper:
    """Looks at the rules, and after them."""

    def __init__(self, settings: Settings) -> None:
        """Set the settings that the rules follow."""
        self._settings = settings
        self._is_undrained = False  # a keeper before this one may have left its drain
        self._has_drained = False
        self._held: IO[str] | None = None

    def look(self) -> None:
        """Check the rules once, and load them again if needed. A failure is logged, and the next check tries again.

        Whatever fails, nobody knows then whether the rules are in force. So the appliance is drained.
        """
        try:
            self._mend()
        except (FirewallError, SettingsError, OSError) as error:
            log.error("firewall.not_in_force", error=str(error), hint=getattr(error, "hint", ""))
            self._drain()
        except Exception as error:
            log.exception("firewall.not_in_force", error=str(error))
            self._drain()
        else:
            self._undrain()

    def _mend(self) -> None:
        self._held = self._held or holder.hold(self._settings.run_dir)
        text = ruleset(values_of(pool_file.as_written(self._settings)))
        loaded = is_loaded(text)
        if not loaded:
            apply(text)
            why = "they were gone" if loaded is None else "they, or what they are made of, had changed"
            log.warning("firewall.loaded_again", why=why)

    def _drain(self) -> None:
        """Drain this appliance; an operator's own drain stays as it is."""
        self._is_undrained = False
        try:
            with open_grid(self._settings) as grid:
                self._drain_in(grid)
        except StoreUnavailable as error:
            log.error("firewall.not_drained", error=str(error))

    def _drain_in(self, grid: Grid) -> None:
        name = self._settings.appliance_name
        state = grid.appliance(name)
        if state is None:
            return
        is_forgotten = self._has_drained and not state.drain_reason  # Redis lost it, and was told of the drain alone
        if state.status is ApplianceStatus.SERVING or is_forgotten:
            grid.drain_appliance(name, REASON)
            self._has_drained = True
        else:
            self._has_drained = state.drain_reason == REASON

    def _undrain(self) -> None:
        """End the drain, unless an operator has asked for one since."""
        if self._is_undrained:
            return
        try:
            with open_grid(self._settings) as grid:
                grid.undrain_appliance(self._settings.appliance_name, REASON)
            self._is_undrained, self._has_drained = True, False
        except StoreUnavailable as error:
            log.error("firewall.not_undrained", error=str(error))


def main() -> int:
    """Look every few seconds until killed."""
    kernel.die_with_parent(signal.SIGTERM)
    try:
        settings = config.load()
    except ApplianceError as error:
        print(f"{error}\n{error.hint}", file=sys.stderr)
        time.sleep(INTERVAL_S)  # supervisord starts it again at once
        return 1
    logs.configure(settings.log_level, settings.log_format)
    keeper = Keeper(settings)
    while True:
        keeper.look()
        time.sleep(INTERVAL_S)


if __name__ == "__main__":
    sys.exit(main())
