"""What the tests of the image for containers share: the image, a network, and containers that are gone afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.oci.container import Container, Image, Options, Run
from tests.support.network import Switch

ARCHIVE = Path(os.environ.get("IMAGE") or "build/image/playwright-appliance.oci.tar").absolute()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let no test be ended by the time that suits others: all that they wait for has a deadline of its own."""
    for item in items:
        item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """Provide the image, unpacked; what it holds is read, and checked, by umoci."""
    assert os.geteuid() == 0, "only root can make containers with networks of their own"
    assert ARCHIVE.is_file(), f"there is no image {ARCHIVE}: make oci"
    folder = tmp_path_factory.mktemp("image")
    with tarfile.open(ARCHIVE) as tar:
        tar.extractall(folder / "layout", filter="data")
    (docker,) = json.loads((folder / "layout" / "manifest.json").read_text())
    tag = docker["RepoTags"][0].rpartition(":")[2]
    subprocess.run(["umoci", "unpack", "--image", f"{folder}/layout:{tag}", folder / "bundle"], check=True)
    runtime = json.loads((folder / "bundle" / "config.json").read_text())
    config = json.loads((folder / "layout" / docker["Config"]).read_text())["config"]
    yield Image(ARCHIVE, folder / "bundle" / "rootfs", runtime, config)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def switch() -> Iterator[Switch]:
    """Provide a network between containers and clients."""
    switch = Switch()
    yield switch
    switch.remove()


@pytest.fixture(scope="module")
def run(
    image: Image, switch: Switch, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Run]:
    """Provide what makes a container and starts it; all are gone at the module's end."""
    made: list[Container] = []

    def run(**options: Any) -> Container:
        folder = tmp_path_factory.mktemp("container")
        host = next(_hosts)
        container = Container(folder, image, switch.plug(host), switch.address(host), Options(**options))
        made.append(container)
        return container.start()

    yield run
    for container in made:
        container.remove()
        if request.session.testsfailed:
            print(f"== log of {container.name}\n{container.log[-4000:]}")


_hosts = iter(range(2, 250))
