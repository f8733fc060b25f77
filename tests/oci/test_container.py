"""A container of the image, as one runs it: with a token, for clients in its network."""

from __future__ import annotations

import json
import subprocess
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.image.session import Client, use
from tests.oci import seccomp
from tests.oci.container import HOME, Container, Image, Run

TOKEN = "a-token-from-the-environment"
SETTINGS = {"APPLIANCE_TOKEN": TOKEN, "CHROMIUM_WORKERS": "1", "SPARE_WORKERS": "0"}
QUICK_S = 10.0  # docker stop's own patience


def doctors_concerns(container: Container) -> dict[str, str]:
    found = json.loads(container.run("applctl", "doctor", "--json").stdout)
    return {one["name"]: one["finding"] for one in found if one["status"] != "ok"}


@pytest.fixture(scope="module")
def container(run: Run) -> Container:
    return run(environment=SETTINGS, read_only=True).await_healthy()


@pytest.mark.parametrize("isolation", ["context", "browser"])
def test_a_client_with_the_token_opens_a_page(container: Container, isolation: str) -> None:
    endpoint = f"{container.endpoint}/?isolation={isolation}"
    assert use(endpoint, TOKEN).title == "A page of the client's"


def test_a_client_without_the_token_is_refused(container: Container) -> None:
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{container.http}/api/v1/capacity", timeout=QUICK_S)
    assert refused.value.code == 401


def test_its_doctor_finds_nothing_missing_but_the_firewall(container: Container) -> None:
    assert doctors_concerns(container) == {"firewall": "off: pages reach this machine and its private networks"}


def test_with_the_capability_and_accounts_it_has_a_firewall(run: Run) -> None:
    accounts = {"SERVICE_USER": "appliance", "BROWSER_USER": "browser"}
    capabilities = ["CAP_NET_ADMIN", "CAP_SYS_PTRACE"]
    container = run(environment=SETTINGS | accounts, user=0, read_only=True, capabilities=capabilities).await_healthy()
    assert use(container.endpoint, TOKEN).title == "A page of the client's"
    assert doctors_concerns(container) == {}
    assert container.stop()[0] == 0


def test_its_browsers_are_in_their_sandbox(container: Container) -> None:
    assert "--no-sandbox" not in container.run("sh", "-c", "cat /proc/[0-9]*/cmdline").stdout


def test_docker_stop_lets_a_session_end_by_itself(run: Run) -> None:
    container = run(environment=SETTINGS).await_healthy()
    client = Client(container.endpoint, TOKEN, hold_s=4)
    client.saw()
    code, _ = container.stop()
    assert (code, client.end()) == (0, "")
    assert "The grid is stopped." in container.log


def test_without_sessions_it_ends_before_docker_stop_kills_it(run: Run) -> None:
    container = run(environment=SETTINGS).await_healthy()
    code, took_s = container.stop()
    assert code == 0
    assert took_s < QUICK_S


def test_it_starts_again_on_what_a_killed_one_left(run: Run) -> None:
    container = run(environment=SETTINGS).await_healthy()
    container.kill()
    container.start().await_healthy()
    assert use(container.endpoint, TOKEN).title == "A page of the client's"
    assert container.stop()[0] == 0


def test_it_runs_under_any_user_id(run: Run) -> None:
    container = run(environment=SETTINGS, user=4_242, read_only=True).await_healthy()
    assert use(container.endpoint, TOKEN).title == "A page of the client's"
    assert container.stop()[0] == 0


def test_it_has_as_many_workers_as_its_limits_bear(run: Run) -> None:
    limits = {"memory_bytes": 9 * 2**30, "processors": 1.5}
    container = run(environment={"APPLIANCE_TOKEN": TOKEN}, **limits).await_healthy()
    workers = json.loads(container.run("applctl", "workers", "list", "--json").stdout)
    assert sorted(worker["name"] for worker in workers) == ["chromium-00", "chromium-01"]


def test_without_a_token_it_does_not_start_and_says_what_to_do(run: Run) -> None:
    container = run()
    assert container.await_end() == 1
    assert "APPLIANCE_TOKEN" in container.log


def test_without_a_sandbox_it_does_not_start_and_says_what_to_do(run: Run) -> None:
    container = run(environment=SETTINGS, system_calls=seccomp.dockers_default())
    assert container.await_end() == 1
    assert "--security-opt seccomp=" in container.log


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
def test_tools_for_images_read_its_archive(image: Image, form: str) -> None:
    found = json.loads(subprocess.check_output(["skopeo", "inspect", f"{form}:{image.archive}"]))
    assert found["Os"] == "linux"
    assert len(found["Layers"]) == 1


def test_it_holds_nothing_of_the_machine_that_built_it(image: Image) -> None:
    root = image.root
    assert (root / "etc" / "machine-id").read_text() == ""
    assert not list((root / "tmp").iterdir())
    assert not list((root / "var" / "lib" / "apt" / "lists").glob("*Packages*"))
    assert not [file for file in (root / "var" / "log").rglob("*") if file.is_file()]
    assert (root / HOME[1:]).is_dir()


def test_none_of_its_programs_gives_rights(image: Image) -> None:
    programs = [file for file in image.root.rglob("*") if file.is_file() and not file.is_symlink()]
    assert not [file for file in programs if file.stat().st_mode & 0o6000]
