"""`applctl`, of which all processes of the appliance have the clock of test_clock.py.

An appliance's processes are given of a shell only what appliance/inherited.py lists: a library that steps their clock is
not among it.
"""

import sys

from appliance import inherited

inherited.NAMES |= {"LD_PRELOAD", "STEPPED_CLOCK"}

from appliance.cli import main  # noqa: E402  # what it imports is given the list

sys.argv = sys.argv[1:]
main()
