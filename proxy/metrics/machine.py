"""What a proxy says of its own build and machine; nothing here asks Redis."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from prometheus_client.core import Metric

from appliance import __version__
from proxy.metrics.families import gauge


class MachineCollector:
    """Reads the machine when the metrics are asked for."""

    def __init__(self, run_dir: Path, playwright: str, expiry_s: Callable[[], float | None]) -> None:
        """Set RUN_DIR, Playwright's version, and what returns when the certificate expires, None without TLS."""
        self._run_dir, self._playwright, self._expiry_s = run_dir, playwright, expiry_s

    def collect(self) -> Iterator[Metric]:
        """Yield all gauges."""
        build = (__version__, self._playwright, platform.python_version())
        yield gauge("appliance_build_info", "Versions.", [(build, 1)], "version", "playwright", "python")
        disk = os.statvfs(self._run_dir)
        yield gauge("appliance_disk_size_bytes", "Size of RUN_DIR's disk.", [((), disk.f_blocks * disk.f_frsize)])
        yield gauge("appliance_disk_free_bytes", "Free space there.", [((), disk.f_bavail * disk.f_frsize)])
        memory = psutil.virtual_memory()
        yield gauge("appliance_memory_size_bytes", "Memory of the machine.", [((), memory.total)])
        yield gauge("appliance_memory_available_bytes", "Memory that is available.", [((), memory.available)])
        if (expiry_s := self._expiry_s()) is not None:
            text = "When the certificate expires, in Unix time."
            yield gauge("appliance_certificate_expiry_timestamp_seconds", text, [((), expiry_s)])
