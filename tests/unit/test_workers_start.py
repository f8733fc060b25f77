"""What a worker's start leaves out: it is what recycling costs."""

from __future__ import annotations

import subprocess
import sys


def modules_after(program: str) -> set[str]:
    """Return the modules that a process has imported after its program."""
    command = [sys.executable, "-c", f"{program}; import sys; print(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_a_worker_imports_nothing_that_only_other_programs_need() -> None:
    modules = modules_after("import workers.main")
    assert {"structlog", "redis", "psutil"} <= modules
    assert not {"gevent", "rich", "pygments", "click", "playwright", "prometheus_client"} & modules


def test_logs_that_went_without_rich_leave_it_to_others() -> None:
    assert "rich.console" in modules_after("import appliance.logs, rich.console")
    assert "rich.console" in modules_after("import rich.console, appliance.logs, rich")
