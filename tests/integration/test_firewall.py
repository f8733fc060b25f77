"""The firewall's rules in the kernel, in a network of their own: whether they are still those that were loaded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import subprocess, sys
from appliance.machine.firewall import Inbound, Values, apply, is_loaded
from appliance.machine.firewall import ruleset
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


ASK = """
import os, socket, sys
os.setgroups([])
os.setresgid(*[int(sys.argv[1])] * 3)
try:
    with socket.create_connection((sys.argv[2], 2222), timeout=3) as connection:
        print(connection.recv(9).decode())
except OSError:
    print("refused")
"""
# tcp_syncookies=2 has the kernel answer for every listener as it does for one whose queue is full (ip-sysctl).
LISTEN = """
import os, socket, subprocess, sys, threading
from pathlib import Path
from appliance.machine.firewall import Values, apply
from appliance.machine.firewall import ruleset
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
Path("/proc/sys/net/ipv4/tcp_syncookies").write_text(sys.argv[1])
apply(ruleset(Values(65534)))
os.setresgid(*[int(sys.argv[2])] * 3)
with socket.create_server(("0.0.0.0", 2222)) as listener:
    def serve():
        while True:
            listener.accept()[0].sendall(b"reached")
    threading.Thread(target=serve, daemon=True).start()
    for group, address in (("0", "127.0.0.1"), ("65534", "127.0.0.1"), ("65534", "127.128.0.1")):
        subprocess.run([sys.executable, "-c", sys.argv[3], group, address], check=True)
    os._exit(0)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can load rules")
@pytest.mark.parametrize(
    ("cookies", "group", "found"),
    [
        ("1", "65534", ["reached", "refused", "reached"]),  # what the browsers' own group listens on
        ("1", "0", ["reached", "refused", "refused"]),
        ("2", "0", ["reached", "refused", "refused"]),
    ],
)
def test_browsers_reach_at_loopback_only_their_own_group_also_by_syn_cookies(
    cookies: str, group: str, found: list[str]
) -> None:
    command = ["unshare", "--net", sys.executable, "-c", LISTEN, cookies, group, ASK]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == found
