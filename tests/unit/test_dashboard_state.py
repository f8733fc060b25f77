"""What the dashboard's page makes of the feed's messages, asked of its modules in the driver's node."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from proxy.dashboard.files import FOLDER
from tests.support.preload import DRIVER

MESSAGE = {"type": "state", "now_ms": 0, "sessions": {"set": [{"id": "a", "status": "active", "started_ms": 1}]}}


def told(program: str) -> Any:
    """Run a program in node with the page's `state`; return what it prints as JSON."""
    script = f"import {{ state }} from '{FOLDER}/state.js'; const message = {json.dumps(MESSAGE)}; {program}"
    command = [DRIVER / "node", "--no-warnings", "--input-type=module", "-e", script]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_a_list_is_the_same_until_something_of_it_has_changed() -> None:
    seen = told("""
      state.take(message);
      const before = [state.running, state.waiting, state.events, state.workersOf({ id: "chromium 1.65" })];
      const isSame = [];
      const worker = { id: "w", pool: "chromium 1.65" };
      for (const change of [{}, { workers: { set: [worker] } }, { sessions: { gone: ["a"] } }]) {
        state.take({ type: 'state', now_ms: 0, ...change });
        const now = [state.running, state.waiting, state.events, state.workersOf({ id: "chromium 1.65" })];
        isSame.push(now.map((one, i) => one === before[i]));
      }
      console.log(JSON.stringify({ isSame, ids: state.running.map(one => one.id) }));
    """)
    assert seen["isSame"] == [[True, True, True, True], [True, True, True, False], [False, False, True, False]]
    assert seen["ids"] == []
