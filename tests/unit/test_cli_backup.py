"""`applctl backup` and `restore` while nothing runs: what is saved, what is refused, and what is put back."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli import restore
from appliance.cli.application import main
from appliance.cli.archive import MANIFEST, SETTINGS, TOKENS
from appliance.settings import config
from tests.support.certificates import Authority

Change = Callable[[dict[str, bytes]], None]


@pytest.fixture(autouse=True)
def machine(settings_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide a machine where nothing runs, with settings, a certificate and a token; return its folder."""
    pair = Authority(tmp_path).issue()
    run_dir = tmp_path / "run"
    settings_file.write_text(
        f"PORT=9000\nRUN_DIR={run_dir}\nDRIVERS_DIR={tmp_path}/drivers\nTLS_CERT={pair.certificate}\nTLS_KEY={pair.key}\n"
    )
    pair.key.chmod(0o600)
    assert applctl("token", "create", "ci").exit_code == 0
    return tmp_path


@pytest.fixture
def saved(machine: Path) -> Path:
    """Return a backup of the machine."""
    file = machine / "backup.tar"
    assert applctl("backup", str(file)).exit_code == 0
    return file


def applctl(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="applctl")


def restored(file: Path, *options: str) -> Result:
    return applctl("restore", *options, str(file))


def tokens() -> list[str]:
    return [token["name"] for token in json.loads(applctl("token", "list", "--json").stdout)]


def changed(file: Path, change: Change) -> Path:
    """Return a backup that somebody has changed."""
    with tarfile.open(file) as tar:
        contents = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    change(contents)
    with tarfile.open(file, "w") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file


def test_a_backup_is_for_its_owner_alone_and_holds_no_token_itself(machine: Path) -> None:
    secret = applctl("token", "create", "other").stdout.split()[0]
    file = machine / "backup.tar"
    assert applctl("backup", str(file)).exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert secret.encode() not in file.read_bytes()
    with tarfile.open(file) as tar:
        assert tar.getnames() == [MANIFEST, SETTINGS, TOKENS, "files/TLS_CERT", "files/TLS_KEY"]


def test_a_backup_says_which_settings_it_has_not(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "debug")
    assert "The environment sets LOG_LEVEL" in applctl("backup", str(machine / "backup.tar")).output


def test_what_was_lost_is_restored_without_a_question(machine: Path, saved: Path, settings_file: Path) -> None:
    before = settings_file.read_text()
    lost = [settings_file, machine / "server.pem", machine / "server.key", machine / "run" / "tokens.json"]
    for path in lost:
        path.unlink()
    done = restored(saved)
    assert done.exit_code == 0, done.output
    assert settings_file.read_text() == before
    assert tokens() == ["ci"]
    assert (machine / "server.key").stat().st_mode & 0o777 == 0o600
    assert "`applctl up` applies it" in done.output


@pytest.mark.parametrize(
    ("saved_as", "lost", "mode"), [(0o644, True, 0o640), (0o600, True, 0o600), (0o600, False, 0o644)]
)
def test_settings_keep_their_mode_or_get_that_of_the_backup(
    saved_as: int, lost: bool, mode: int, machine: Path, settings_file: Path
) -> None:
    settings_file.chmod(saved_as)
    file = machine / "backup.tar"
    assert applctl("backup", str(file)).exit_code == 0
    settings_file.write_text(settings_file.read_text().replace("9000", "9001"))
    settings_file.chmod(0o644)
    if lost:
        settings_file.unlink()
    assert restored(file, "--yes").exit_code == 0
    assert settings_file.stat().st_mode & 0o777 == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change owners")
def test_lost_settings_get_their_owner_back(machine: Path, settings_file: Path) -> None:
    shutil.chown(settings_file, "daemon", "nogroup")
    file = machine / "backup.tar"
    assert applctl("backup", str(file)).exit_code == 0
    settings_file.unlink()
    assert restored(file).exit_code == 0
    assert (settings_file.owner(), settings_file.group()) == ("daemon", "nogroup")


def test_a_restore_that_changes_nothing_says_so(saved: Path) -> None:
    assert "Nothing is different." in restored(saved).output


def test_files_are_replaced_only_after_a_yes(saved: Path, settings_file: Path) -> None:
    settings_file.write_text(settings_file.read_text().replace("9000", "9001"))
    refused = restored(saved)
    assert (refused.exit_code, "--yes" in refused.stderr) == (1, True)
    assert "changes PORT (replaced)" in refused.stdout
    assert "PORT=9001" in settings_file.read_text()
    assert restored(saved, "--yes").exit_code == 0
    assert "PORT=9000" in settings_file.read_text()


def test_nothing_is_prepared_before_the_yes(machine: Path, saved: Path, settings_file: Path) -> None:
    settings_file.write_text(settings_file.read_text().replace("9000", "9001"))
    shutil.rmtree(machine / "run")
    assert restored(saved).exit_code == 1
    assert not (machine / "run").exists()
    assert restored(saved, "--yes").exit_code == 0
    assert tokens() == ["ci"]


def test_an_appliance_that_runs_with_another_run_dir_is_not_orphaned(
    machine: Path, saved: Path, settings_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings_file.write_text(f"RUN_DIR={machine}/other\n")
    other = config.load()
    monkeypatch.setattr(restore, "started_settings", lambda asked: other if asked.run_dir == other.run_dir else None)
    refused = restored(saved, "--yes")
    assert (refused.exit_code, f"the appliance runs in {machine}/other" in refused.stderr) == (1, True)
    assert settings_file.read_text() == f"RUN_DIR={machine}/other\n"


def test_settings_that_cannot_be_read_are_mended(saved: Path, settings_file: Path) -> None:
    settings_file.write_text("PORT=x\n")
    assert restored(saved, "--yes").exit_code == 0
    assert "PORT=9000" in settings_file.read_text()


def test_a_revoked_token_stays_revoked_and_a_new_one_stays(saved: Path) -> None:
    applctl("token", "create", "new")
    applctl("token", "revoke", "ci")
    assert restored(saved, "--yes").exit_code == 0
    assert tokens() == ["new"]


def rename(contents: dict[str, bytes]) -> None:
    contents["../../etc/passwd"] = contents.pop(SETTINGS)


def damage(contents: dict[str, bytes]) -> None:
    contents[SETTINGS] += b"HOST=0.0.0.0\n"


def from_the_future(contents: dict[str, bytes]) -> None:
    contents[MANIFEST] = contents[MANIFEST].replace(b'"format": 1', b'"format": 2')


def lead_elsewhere(contents: dict[str, bytes]) -> None:
    contents[MANIFEST] = contents[MANIFEST].replace(b"server.key", b"other.key")


def without_manifest(contents: dict[str, bytes]) -> None:
    del contents[MANIFEST]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rename, "'../../etc/passwd', which no backup has"),
        (damage, "appliance.env in "),
        (from_the_future, "has format 2"),
        (lead_elsewhere, "the backup has TLS_KEY at "),
        (without_manifest, "has no manifest"),
    ],
)
def test_a_backup_that_was_tampered_with_changes_nothing(
    change: Change, said: str, saved: Path, settings_file: Path
) -> None:
    settings_file.unlink()
    done = restored(changed(saved, change), "--yes")
    assert (done.exit_code, said in done.stderr) == (1, True), done.stderr
    assert not settings_file.exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_a_backup_has_files_and_nothing_else(kind: bytes, saved: Path) -> None:
    with tarfile.open(saved, "w") as tar:
        member = tarfile.TarInfo(SETTINGS)
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    assert "which no backup has in that form" in restored(saved, "--yes").stderr


@pytest.mark.parametrize("content", [b"", b"no tar", 600 * b"\0"])
def test_a_file_that_is_no_backup_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    done = restored(tmp_path / "x.tar")
    assert (done.exit_code, "Traceback" in done.output) == (1, False)


def test_nothing_is_restored_through_a_link(machine: Path, saved: Path) -> None:
    key = machine / "server.key"
    key.unlink()
    key.symlink_to(machine / "elsewhere")
    assert "is a symbolic link" in restored(saved, "--yes").stderr
    assert not (machine / "elsewhere").exists()


def test_a_backup_is_written_whole_or_not_at_all(machine: Path) -> None:
    done = applctl("backup", "/dev/full")
    assert (done.exit_code, "this is not a file" in done.stderr) == (1, True)
    assert Path("/dev/full").is_char_device()
