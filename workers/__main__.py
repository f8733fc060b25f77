"""`python -m workers`: one worker, as supervisord starts it.

A worker's start and end are what recycling costs (tests/bench/recycling.py), so here is left out what is of no use:
looking for garbage among all that the imports make, and taking all of that apart again in the end.
"""

import gc

gc.disable()

import os  # noqa: E402
import sys  # noqa: E402

from appliance import logs  # noqa: E402
from workers.main import main  # noqa: E402

gc.freeze()
gc.enable()
code = main()
logs.flush()
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)
