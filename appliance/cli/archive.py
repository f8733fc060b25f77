"""The file of `applctl backup`: a tar with a manifest. The whole file is checked before any of it is used."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ValidationError

from appliance.errors import ApplianceError

FORMAT = 1
MANIFEST, SETTINGS, TOKENS = "manifest.json", "appliance.env", "tokens.json"
FILES = ("TLS_CERT", "TLS_KEY", "REDIS_TLS_CERT", "REDIS_TLS_KEY")  # the settings that name files

_KNOWN = {MANIFEST, SETTINGS, TOKENS, *(f"files/{name}" for name in FILES)}
_LARGEST = 64 * 2**20  # bytes; by far


class BackupError(ApplianceError):
    """The backup cannot be used."""

    hint = "Nothing was changed. Use another backup."


class Part(BaseModel):
    """A file of the backup: its digest and, if a setting names it, where it was and whose."""

    sha256: str
    path: str = ""
    mode: int = 0o600
    owner: str = ""
    group: str = ""


class Manifest(BaseModel):
    """What a backup has; `drivers` are the Playwright versions that were added."""

    format: int
    appliance: str
    created: str
    name: str
    drivers: list[str]
    parts: dict[str, Part]


@dataclass(slots=True)
class Archive:
    """A backup in memory; `contents` by the names of the parts."""

    manifest: Manifest
    contents: dict[str, bytes] = field(default_factory=dict)

    def add(self, name: str, content: bytes, part: Part | None = None) -> None:
        """Add a part."""
        part = part or Part(sha256="")
        part.sha256 = hashlib.sha256(content).hexdigest()
        self.manifest.parts[name], self.contents[name] = part, content

    def as_tar(self) -> bytes:
        """Return the whole file; the manifest comes first."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            manifest = self.manifest.model_dump_json(indent=1).encode()
            for name, content in {MANIFEST: manifest, **self.contents}.items():
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(content), 0o600
                tar.addfile(member, io.BytesIO(content))
        return out.getvalue()


def read_archive(path: Path) -> Archive:
    """Read a backup; raises BackupError if anything in it is not as `applctl backup` made it, and OSError."""
    if path.stat().st_size > _LARGEST:
        raise BackupError(f"{path} is larger than any backup")
    try:
        contents = _members(path)
        manifest = Manifest.model_validate_json(contents.pop(MANIFEST, b""))
    except tarfile.TarError as error:
        raise BackupError(f"{path} is no backup: {error}") from error
    except ValidationError as error:
        raise BackupError(f"{path} has no manifest of a backup") from error
    if manifest.format != FORMAT:
        raise BackupError(
            f"{path} has format {manifest.format}, of appliance {manifest.appliance}; this version reads {FORMAT}",
            "Restore it with the version that made it, then upgrade.",
        )
    if manifest.parts.keys() != contents.keys():
        raise BackupError(f"{path} does not have the files that its manifest names")
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != manifest.parts[name].sha256:
            raise BackupError(f"{name} in {path} is damaged")
    return Archive(manifest, contents)


def _members(path: Path) -> dict[str, bytes]:
    """Return the contents of all members by their names. Nothing is unpacked: no name leads anywhere."""
    contents: dict[str, bytes] = {}
    with tarfile.open(path, mode="r:") as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            if member.name not in _KNOWN or member.name in contents or file is None:
                raise BackupError(f"{path} has {member.name!r}, which no backup has in that form")
            contents[member.name] = file.read()
    return contents
