"""Which ffmpeg records videos, and how a driver is shown it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.errors import LaunchError
from appliance.machine import ffmpeg
from appliance.machine.install import provide
from appliance.machine.install.ffmpeg import provide_ffmpeg
from appliance.settings.config import Settings

ALL, NONE = "V....D libvpx VP8\\nV....D libvpx-vp9 VP9", "V....D mpeg4 MPEG-4"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Provide a machine with a driver and no ffmpeg: downloads in `ms`, programs in `bin`."""
    package = tmp_path / "driver" / "package"
    package.mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    for file in (package.parent / "node", package / "cli.js"):
        file.touch()
    entry = {"name": "ffmpeg", "revision": "1013", "revisionOverrides": {"mac12": "1010"}}
    (package / "browsers.json").write_text(json.dumps({"browsers": [entry]}))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "ms"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return Settings(playwright_driver=package.parent)


def program(path: Path, encoders: str = ALL) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nprintf '{encoders}'\n")
    path.chmod(0o755)
    return path


def test_playwrights_download_comes_first_and_is_shown_where_it_is(settings: Settings, tmp_path: Path) -> None:
    program(tmp_path / "bin" / "ffmpeg")
    downloaded = program(tmp_path / "ms" / "ffmpeg-1013" / "ffmpeg-linux", NONE)
    assert ffmpeg.require_usable(settings).path == downloaded
    assert ffmpeg.show_driver(settings, tmp_path / "workspace") == tmp_path / "ms"
    assert not (tmp_path / "workspace").exists()


def test_the_systems_is_shown_by_links_under_the_drivers_revisions(settings: Settings, tmp_path: Path) -> None:
    system = program(tmp_path / "bin" / "ffmpeg")
    shown = ffmpeg.show_driver(settings, tmp_path / "workspace")
    assert (shown / "ffmpeg-1013" / "ffmpeg-linux").resolve() == system
    assert not (tmp_path / "ms").exists(), "nothing is put among Playwright's downloads"


def test_one_that_lacks_an_encoder_or_does_not_run_is_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="ffmpeg is not installed"):
        ffmpeg.require_usable(settings)
    program(tmp_path / "bin" / "ffmpeg", NONE)
    with pytest.raises(LaunchError, match="bin/ffmpeg has no libvpx and no libvpx-vp9"):
        ffmpeg.require_usable(settings)
    program(tmp_path / "ms" / "ffmpeg-1013" / "ffmpeg-linux").write_text("#!/nowhere\n")
    with pytest.raises(LaunchError, match=r"ffmpeg-linux does not run; .*bin/ffmpeg has no libvpx"):
        ffmpeg.require_usable(settings)


def test_one_that_is_missing_is_installed_behind_the_shells_proxy(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt = program(tmp_path / "bin" / "apt-get")
    made = f"printf '#!/bin/sh\\necho libvpx libvpx-vp9\\n' > {tmp_path}/bin/ffmpeg; chmod +x {tmp_path}/bin/ffmpeg"
    apt.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\nenv > {tmp_path}/environment; echo $* > {tmp_path}/said\n{made}\n")
    sudo = '#!/bin/sh\nshift; exec /usr/bin/env -i PATH="$PATH" "$@"\n'  # which keeps nothing of the environment
    program(tmp_path / "bin" / "sudo").write_text(sudo)
    (tmp_path / "bin" / "env").symlink_to("/usr/bin/env")
    (tmp_path / "bin" / "true").symlink_to("/usr/bin/true")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.corp.example:3128")
    provided = provide_ffmpeg(settings, lambda _: None)
    assert (provided.how, provided.path) == ("installed", str(tmp_path / "bin" / "ffmpeg"))
    assert "install --no-install-recommends ffmpeg" in (tmp_path / "said").read_text()
    assert "http_proxy=http://proxy.corp.example:3128\n" in (tmp_path / "environment").read_text()


def test_a_grid_comes_up_without_it_and_setup_says_what_that_costs(settings: Settings) -> None:
    settings = settings.model_copy(update={"redis_url": "redis://h", "chromium_workers": 0})
    (*_, provided) = provide(settings, lambda _: None)
    assert (provided.name, provided.how) == ("ffmpeg", "missing")
    assert "sessions cannot record videos (apt: this system has no apt)" in provided.note
