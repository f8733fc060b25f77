"""Pack a root as an image for containers: archive.py ROOT.tar OUT.tar ARCH.

One archive in two forms, as `docker save` writes it: an OCI layout (github.com/opencontainers/image-spec) and, by
manifest.json, what older Dockers load. The image has a health check, which OCI's own format does not know and its
tools drop; Docker reads it from the same place (github.com/moby/docker-image-spec).
"""

import gzip
import hashlib
import json
import os
import shutil
import sys
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path

HERE = "/opt/playwright-appliance"
HOME = "/var/lib/playwright-appliance"
SECOND = 10**9  # Docker counts in nanoseconds
BLOCK = 2**20
TITLE = "playwright-appliance"
ACCOUNT = "appliance"


def main(root: Path, out: Path, architecture: str) -> None:
    """Write the archive."""
    created = int(os.environ["SOURCE_DATE_EPOCH"])
    time = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with tarfile.open(root) as tar:
        version = read(tar, "usr/local/lib/playwright-appliance/version").strip()
        users = dict(line.split(":", 1) for line in read(tar, "etc/passwd").splitlines())
        has_firefox = any(name.lstrip("./") == "usr/bin/firefox-esr" for name in tar.getnames())
    _, uid, gid, *_ = users[ACCOUNT].split(":")
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        layout = Path(folder)
        (layout / "blobs" / "sha256").mkdir(parents=True)
        layer, unpacked = put_layer(layout, root)
        config = put(layout, "config", {
            "created": time, "architecture": architecture, "os": "linux",
            "config": configuration(f"{uid}:{gid}", version, time, has_firefox=has_firefox),
            "rootfs": {"type": "layers", "diff_ids": [unpacked]},
            "history": [{"created": time, "comment": f"{TITLE} {version}"}],
        })  # fmt: skip
        manifest = put(layout, "manifest", {
            "schemaVersion": 2, "mediaType": media_type("manifest"), "config": config, "layers": [layer],
        })  # fmt: skip
        names = {"org.opencontainers.image.ref.name": version, "io.containerd.image.name": f"{TITLE}:{version}"}
        index = {"schemaVersion": 2, "mediaType": media_type("index"), "manifests": [manifest | {"annotations": names}]}
        docker = {"Config": path_of(config), "RepoTags": [f"{TITLE}:{version}"], "Layers": [path_of(layer)]}
        (layout / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
        (layout / "index.json").write_text(json.dumps(index))
        (layout / "manifest.json").write_text(json.dumps([docker]))
        pack(layout, out, created)


def configuration(user: str, version: str, created: str, *, has_firefox: bool) -> dict[str, object]:
    """Return how a container runs, where `docker run` says nothing else."""
    variables = {
        "PATH": f"{HERE}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": HOME,
        "HOST": "0.0.0.0",  # noqa: S104  # of the container, which chooses what is published
        "RUN_DIR": f"{HOME}/run",
        "DRIVERS_DIR": f"{HOME}/drivers",
        "APPLIANCE_ENV": "/etc/playwright-appliance/appliance.env",
    }
    if has_firefox:
        variables["FIREFOX_CHANNEL"] = "moz-firefox"  # the only one that is there
    labels = {
        "title": "Playwright Appliance",
        "description": "A Playwright grid: one WebSocket endpoint, a pool of warm browsers",
        "version": version,
        "licenses": "Apache-2.0",
        "created": created,
    }
    return {
        "User": user,
        "ExposedPorts": {"8080/tcp": {}},
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "Entrypoint": ["applctl"],
        "Cmd": ["up", "--foreground", "--no-setup", "--no-demo"],
        "Volumes": {HOME: {}},
        "WorkingDir": HOME,
        "StopSignal": "SIGTERM",
        "Labels": {f"org.opencontainers.image.{name}": value for name, value in labels.items()},
        "Healthcheck": {
            "Test": ["CMD", "/usr/local/lib/playwright-appliance/healthy"],
            "Interval": 30 * SECOND,
            "Timeout": 10 * SECOND,
            "StartPeriod": 120 * SECOND,
            "StartInterval": 2 * SECOND,
            "Retries": 3,
        },
    }


def read(tar: tarfile.TarFile, name: str) -> str:
    """Return a file of the root."""
    found = tar.extractfile(f"./{name}")
    if not found:
        raise SystemExit(f"{name} is no file in the root")
    return found.read().decode()


def put_layer(layout: Path, root: Path) -> tuple[dict[str, object], str]:
    """Compress the root into the layout; return its descriptor, and the digest of the tar itself."""
    packed = layout / "layer"
    with root.open("rb") as source, packed.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as out:
        shutil.copyfileobj(source, out, BLOCK)
    return kept(layout, packed, "layer"), digest_of(root)


def put(layout: Path, kind: str, content: dict[str, object]) -> dict[str, object]:
    """Write one of the format's documents into the layout; return its descriptor."""
    file = layout / kind
    file.write_text(json.dumps(content, indent=1))
    return kept(layout, file, kind)


def kept(layout: Path, file: Path, kind: str) -> dict[str, object]:
    """Name a file of the layout by its digest; return its descriptor."""
    digest, size = digest_of(file), file.stat().st_size
    descriptor: dict[str, object] = {"mediaType": media_type(kind), "digest": digest, "size": size}
    file.rename(layout / path_of(descriptor))
    return descriptor


def path_of(descriptor: dict[str, object]) -> str:
    """Return where a descriptor's content is."""
    return f"blobs/{str(descriptor['digest']).replace(':', '/')}"


def media_type(kind: str) -> str:
    """Return OCI's name of a kind of content."""
    suffix = {"layer": "layer.v1.tar+gzip"}.get(kind, f"{kind}.v1+json")
    return f"application/vnd.oci.image.{suffix}"


def digest_of(file: Path) -> str:
    """Return a file's digest."""
    with file.open("rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def pack(layout: Path, out: Path, created: int) -> None:
    """Pack a layout, the same each time."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid, member.gid, member.uname, member.gname, member.mtime = 0, 0, "", "", created
        member.mode = 0o755 if member.isdir() else 0o644
        return member

    with tarfile.open(out, "w") as tar:
        for file in sorted(layout.rglob("*")):
            tar.add(file, file.relative_to(layout), recursive=False, filter=plain)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
