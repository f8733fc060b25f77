"""`python -m appliance.pools`: the process that gets pools on demand, as supervisord starts it."""

from __future__ import annotations

import signal
import sys
import time

from appliance import logs
from appliance.errors import ApplianceError
from appliance.grid.grid import open_grid
from appliance.machine import kernel
from appliance.pools.keeper import Keeper
from appliance.settings import config

_PAUSE_AFTER_A_FALSE_START_S = 5  # supervisord starts it again at once


def main() -> int:
    """Serve wishes until SIGTERM; return the exit code of a start that failed."""
    try:
        settings = config.load()
        logs.configure(settings.log_level, settings.log_format, process="pools")
        kernel.die_with_parent(signal.SIGTERM)
        with open_grid(settings) as grid:
            Keeper(settings, grid).run()
    except (ApplianceError, OSError) as error:
        print(error, file=sys.stderr, flush=True)
    time.sleep(_PAUSE_AFTER_A_FALSE_START_S)
    return 1


if __name__ == "__main__":
    sys.exit(main())
