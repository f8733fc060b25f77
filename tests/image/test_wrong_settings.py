"""Settings that are wrong are said where somebody looks who cannot log in."""

from __future__ import annotations

from pathlib import Path

from tests.image import seed
from tests.image.machine import MakeMachine


def test_wrong_settings_on_a_drive_are_named_on_the_console(make_machine: MakeMachine, folder: Path) -> None:
    settings = seed.settings_text({"PORT": "none", "REDIS_URL": "http://redis"})
    drive = seed.make_drive(folder / "wrong.iso", "APPLIANCE", {"appliance.env": settings})
    shown = make_machine("wrong", drives=[drive]).on_console("some settings are wrong")
    shown = shown.partition("some settings are wrong")[2] or shown
    assert "PORT: " in shown
    assert "REDIS_URL: must start with" in shown
