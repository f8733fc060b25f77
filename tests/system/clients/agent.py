"""An agent of the appliance at the given port: it says that it has a browser, and keeps it until its input ends."""

from __future__ import annotations

import sys

from tests.support.agent import Agent

agent = Agent(int(sys.argv[1])).begin()
print(agent.said("browser_tabs", action="list").splitlines(), flush=True)
sys.stdin.read()
agent.end()
