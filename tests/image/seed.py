"""What a machine is given at its first boot: user data for cloud-init, or a settings file, on a drive."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.image.machine import OUTSIDE_MAC, Cable

SETTINGS_FILE = "/etc/playwright-appliance/appliance.env"


def make_key(folder: Path) -> None:
    """Make the key that lets in the user of tests/image/guest.py."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)


def user_data(key_folder: Path, settings: Mapping[str, object] | None = None) -> str:
    """Return user data that lets the key in and, if there are settings, writes the settings file."""
    data: dict[str, object] = {"ssh_authorized_keys": [(key_folder / "key.pub").read_text().strip()]}
    if settings is not None:
        data["write_files"] = [{"path": SETTINGS_FILE, "permissions": "0600", "content": settings_text(settings)}]
    return "#cloud-config\n" + json.dumps(data)  # which is YAML, too


def settings_text(settings: Mapping[str, object]) -> str:
    """Return the lines of a settings file."""
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def meta_data(name: str) -> str:
    """Return what tells cloud-init one machine from another, with its host's name."""
    return json.dumps({"instance-id": name, "local-hostname": name})


def network_config(cable: Cable) -> str:
    """Return what makes a machine 10.55.0.NUMBER on its cable; the other network stays as it is."""
    outside = {"match": {"macaddress": OUTSIDE_MAC}, "dhcp4": True}
    grid = {"match": {"macaddress": cable.mac}, "addresses": [f"10.55.0.{cable.number}/24"]}
    return json.dumps({"version": 2, "ethernets": {"grid": grid, "outside": outside}})


def make_drive(file: Path, label: str, content: Mapping[str, str]) -> Path:
    """Make a drive with files at its top."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in content.items():
            (Path(folder) / name).write_text(text)
        subprocess.run(
            ["xorriso", "-as", "mkisofs", "-quiet", "-J", "-R", "-V", label, "-o", file, folder],
            check=True,
            stderr=subprocess.DEVNULL,
        )
    return file
