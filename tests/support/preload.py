"""The driver's preload, without a driver: its modules in the driver's own node."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from appliance.machine import browsers
from appliance.settings.config import Settings
from workers.driver import PRELOAD

DRIVER = browsers.driver_folder(Settings())


def ask(expression: str, *arguments: Any) -> Any:
    """Evaluate an expression in node, with the preload's modules as functions of their names."""
    return told(f"console.log(JSON.stringify({expression}))", *arguments)


def told(program: str, *arguments: Any) -> Any:
    """Run a program in node, with the preload's modules as functions of their names; return what it prints as JSON."""
    script = f"const load = name => require('{PRELOAD.parent}/' + name + '.js'); const given = {json.dumps(arguments)};"
    command = [DRIVER / "node", "-e", f"{script} {program}"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
