"""Who ended a session, found in the sentence that says why it ended."""

from __future__ import annotations

import re

from appliance.grid.story import EndedBy

_WHO = (
    (EndedBy.CLIENT, r"closed$|no client came back|no call came"),
    (EndedBy.NETWORK, r"client "),
    (EndedBy.LIMIT, r"session limit|session was idle|a message was larger|worker \S+ used more"),
    (EndedBy.OPERATOR, r"session closed by"),
    (EndedBy.DRIVER, r"the driver|closed by the driver"),
    (EndedBy.BROWSER, r"the browser"),
    (EndedBy.WORKER, r"worker "),
)


def who_ended(reason: str) -> EndedBy:
    """Return which part a reason names; the appliance says all else."""
    return next((who for who, words in _WHO if re.match(words, reason)), EndedBy.APPLIANCE)
