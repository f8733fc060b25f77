"""What a proxy's metrics read when they are asked for, beside what it counts."""

from __future__ import annotations

from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from proxy.metrics.gauges import GridCollector
from proxy.metrics.machine import MachineCollector
from proxy.self_audit import SelfAudit
from proxy.services import Services


def collectors(services: Services, audit: SelfAudit) -> tuple[Collector, ...]:
    """Return what reads the grid, the machine, the process and the last audit."""
    settings, tls = services.settings, services.tls
    return (
        GridCollector(services.grid, settings.appliance_name, services.sessions, services.door),
        MachineCollector(settings.run_dir, services.presence.version, lambda: tls.expires_s if tls else None),
        ProcessCollector(registry=None),
        audit,
    )
