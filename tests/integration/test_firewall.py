"""The guard's rules in the kernel, in a network of their own: whether they are still those that were loaded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import subprocess, sys
from appliance.guard import Inbound, Values, apply, is_loaded, ruleset
text = ruleset(Values(65534, inbound=Inbound((8080, 22))))
print(is_loaded(text))
for change in sys.argv[1:]:
    apply(text)
    assert is_loaded(text)
    subprocess.run(["nft", change], check=True)
    print(is_loaded(text))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can load rules")
def test_rules_are_in_force_only_if_none_was_taken_out_and_no_other_let_in() -> None:
    changes = [
        "flush chain inet appliance refuse",
        "flush chain inet appliance output",
        "insert rule inet appliance browsers accept",
        "chain inet appliance input { policy accept; }",
        "table inet appliance { flags dormant; }",
        "insert rule ip others first accept",
    ]
    command = ["unshare", "--net", sys.executable, "-c", CODE, "table ip others { chain first { }; }", *changes]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert found == ["None", "True", "False", "False", "False", "False", "False", "True"]
