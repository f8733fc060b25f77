"""Chromium's sandbox: what is decided where it can be had, and where it cannot."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from appliance.errors import SettingsError
from appliance.machine import browsers, sandbox
from appliance.machine.install import apparmor
from appliance.names import Browser
from appliance.settings.config import Settings

RESTRICTED = Path(__file__).parents[1] / "support" / "restricted.py"
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
NO_NAMESPACES = (sys.executable, str(RESTRICTED), "65534")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can restrict what another account may")


@pytest.fixture(autouse=True)
def no_trial_is_remembered() -> Iterator[None]:
    sandbox.works.cache_clear()
    yield
    sandbox.works.cache_clear()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Provide a folder that other accounts may read."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def program(path: Path, code: str) -> Path:
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(0o755)
    return path


@as_root
def test_on_a_kernel_that_gives_namespaces_chromium_has_its_sandbox() -> None:
    chromium = browsers.find(Browser.CHROMIUM, Settings()).path
    assert sandbox.decide(Settings(host="0.0.0.0"), chromium, NOBODY).on


@as_root
def test_without_namespaces_only_a_grid_on_loopback_has_no_sandbox_and_says_why() -> None:
    chromium = browsers.find(Browser.CHROMIUM, Settings()).path
    decision = sandbox.decide(Settings(), chromium, NO_NAMESPACES)
    assert (decision.on, bool(decision.remedy)) == (False, True)
    assert "the kernel gives it no user namespaces" in decision.why
    with pytest.raises(SettingsError, match="without its sandbox, and HOST is not loopback") as refused:
        sandbox.decide(Settings(host="0.0.0.0"), chromium, NO_NAMESPACES)
    assert "CHROMIUM_SANDBOX=false goes without" in refused.value.hint


@as_root
def test_a_browser_that_starts_in_its_sandbox_where_others_get_no_namespaces_has_it(folder: Path) -> None:
    assert sandbox.works(program(folder / "with-a-helper", "exit 0"), NO_NAMESPACES)
    assert not sandbox.works(program(folder / "without", "exit 1"), NO_NAMESPACES)


@as_root
def test_root_has_none_and_is_told_how_to_have_one() -> None:
    with pytest.raises(SettingsError, match="as root, Chromium has no sandbox") as refused:
        sandbox.decide(Settings(host="10.0.0.1"), Path("/bin/true"))
    assert "SERVICE_USER and BROWSER_USER" in refused.value.hint
    assert not sandbox.decide(Settings(host="localhost"), Path("/bin/true")).on


@as_root
def test_the_operators_word_counts_everywhere(folder: Path) -> None:
    assert not sandbox.decide(Settings(host="0.0.0.0", chromium_sandbox="false"), Path("/nowhere"), NOBODY).on
    with pytest.raises(SettingsError, match="CHROMIUM_SANDBOX=true is not possible here"):
        sandbox.decide(Settings(chromium_sandbox="true"), program(folder / "without", "exit 1"), NO_NAMESPACES)


@pytest.mark.parametrize(
    ("file", "value", "why", "remedy"),
    [
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "AppArmor denies the user namespaces",
            "Run `applctl setup` as root",
        ),
        (
            "kernel/unprivileged_userns_clone",
            "0",
            "unprivileged_userns_clone=0",
            "sysctl -w kernel.unprivileged_userns",
        ),
        ("user/max_user_namespaces", "0", "user.max_user_namespaces=0", "sysctl -w user.max_user_namespaces=65536"),
    ],
)
@as_root
def test_what_keeps_it_away_is_named_with_its_remedy(
    file: str, value: str, why: str, remedy: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / file).parent.mkdir()
    (folder / file).write_text(f"{value}\n")
    monkeypatch.setattr(sandbox, "_KERNEL", folder)
    decision = sandbox.decide(Settings(), program(folder / "without", "exit 1"), NO_NAMESPACES)
    assert why in decision.why
    assert remedy in decision.remedy


@as_root
def test_setup_installs_a_profile_where_apparmor_restricts_chromium(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The profile is what lets the program start here, as AppArmor would; its parser says which one it was given."""
    monkeypatch.setattr(apparmor, "_FOLDER", folder)
    monkeypatch.setattr(apparmor, "browser_prefix", lambda _: NO_NAMESPACES)
    monkeypatch.setattr(sandbox, "is_restricted_by_apparmor", lambda: True)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    program(folder / "apparmor_parser", f'cp "$2" {folder}/loaded; chmod 644 {folder}/loaded')
    chromium = program(folder / "chromium [x]", f"exec grep -q userns {folder}/loaded")
    settings = Settings(chromium_executable=chromium, browser_user="browser")
    provided = apparmor.provide_profile(settings, lambda _: None)
    assert provided
    assert provided.how == "installed", provided.note
    loaded = (folder / "loaded").read_text()
    assert f'profile {Path(provided.path).name} "{folder}/chromium \\[x\\]" flags=(unconfined)' in loaded
    assert apparmor.provide_profile(settings, lambda _: None) is None, "it is there"


@as_root
def test_a_profile_that_cannot_be_installed_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apparmor, "browser_prefix", lambda _: NO_NAMESPACES)
    monkeypatch.setattr(sandbox, "is_restricted_by_apparmor", lambda: True)
    monkeypatch.setattr(apparmor, "_PARSER", "no-such-parser")
    settings = Settings(chromium_executable=program(folder / "chromium", "exit 1"), browser_user="browser")
    provided = apparmor.provide_profile(settings, lambda _: None)
    assert provided
    assert (provided.how, "install the package apparmor" in provided.note) == ("missing", True)
