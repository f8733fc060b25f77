"""The memory and processors of a container."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from appliance import resources
from appliance.settings.config import Settings

GIB = 2**30


class Container:
    """Control groups as a container sees them."""

    def __init__(self, folder: Path) -> None:
        self.cgroups, self.own = folder / "cgroups", folder / "own"
        self.own.write_text("0::/\n")

    def limit(self, name: str, text: str) -> Container:
        file = self.cgroups / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
        return self

    @property
    def memory(self) -> int:
        return resources.memory_bytes(self.cgroups, self.own)

    @property
    def processors(self) -> float:
        return resources.processors(self.cgroups, self.own)


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


def test_without_limits_all_of_the_machine_counts(container: Container) -> None:
    container.limit("memory.max", "max").limit("cpu.max", "max 100000")
    assert container.memory == psutil.virtual_memory().total
    assert container.processors == len(os.sched_getaffinity(0))


def test_a_container_has_what_version_2_limits_it_to(container: Container) -> None:
    container.limit("memory.max", str(GIB)).limit("cpu.max", "50000 100000")
    assert (container.memory, container.processors) == (GIB, 0.5)


def test_a_container_has_what_version_1_limits_it_to(container: Container) -> None:
    container.own.write_text("4:memory:/docker/1a2b\n2:cpu,cpuacct:/docker/1a2b\n")
    container.limit("memory/memory.limit_in_bytes", str(GIB))
    container.limit("cpu/cpu.cfs_quota_us", "50000").limit("cpu/cpu.cfs_period_us", "100000")
    assert (container.memory, container.processors) == (GIB, 0.5)


def test_no_limit_of_version_1_is_none(container: Container) -> None:
    container.own.write_text("4:memory:/\n2:cpu:/\n")
    container.limit("memory/memory.limit_in_bytes", "9223372036854771712")
    container.limit("cpu/cpu.cfs_quota_us", "-1").limit("cpu/cpu.cfs_period_us", "100000")
    assert container.memory == psutil.virtual_memory().total
    assert container.processors == len(os.sched_getaffinity(0))


def test_a_group_has_no_more_than_those_above_it(container: Container) -> None:
    container.own.write_text("0::/system.slice/grid.service\n")
    container.limit("system.slice/grid.service/memory.max", str(2 * GIB)).limit("system.slice/memory.max", str(GIB))
    assert container.memory == GIB


def test_by_default_there_are_as_many_workers_as_the_container_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "memory_bytes", lambda: 9 * GIB)
    monkeypatch.setattr(resources, "processors", lambda: 2.5)
    settings = Settings()
    assert (settings.chromium_workers, settings.spare_workers) == (2, 1)
    monkeypatch.setattr(resources, "memory_bytes", lambda: GIB)
    monkeypatch.setattr(resources, "processors", lambda: 0.5)
    settings = Settings()
    assert (settings.chromium_workers, settings.spare_workers) == (1, 0)
