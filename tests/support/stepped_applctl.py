"""`applctl`, of which all processes of the appliance have the clock of test_clock.py.

The processes are given only those variables of a shell that machine/inherited.py lists, and a library that steps
their clock is none of them.
"""

import sys

from appliance.machine import inherited

inherited.NAMES |= {"LD_PRELOAD", "STEPPED_CLOCK"}

from appliance.cli import main  # noqa: E402  # what it imports is given the list

sys.argv = sys.argv[1:]
main()
