"""A backup of a real grid, restored on an empty one."""

from __future__ import annotations

from pathlib import Path

from tests.support.appliance import StartGrid
from tests.support.wire import Wire


def test_a_token_works_after_a_restore_until_it_is_revoked_for_good(start_grid: StartGrid, tmp_path: Path) -> None:
    grid, file = start_grid(), tmp_path / "backup.tar"

    def status(token: str) -> int:
        with Wire(grid.port) as wire:
            return wire.upgrade(f"/?token={token}").status

    secret = grid.applctl("token", "create", "ci").stdout.split()[0]
    grid.applctl("backup", str(file))
    grid.applctl("down")
    (grid.run_dir / "tokens.json").unlink()
    grid.applctl("up", "--no-setup", "--no-demo")
    assert status(secret) == 401, "the grid has lost it"
    refused = grid.applctl("restore", str(file), check=False)
    assert (refused.returncode, "The appliance runs." in refused.stderr) == (1, True)
    grid.applctl("restore", "--yes", str(file))
    assert status(secret) == 101
    grid.applctl("token", "revoke", "ci")
    grid.applctl("restore", "--yes", str(file))
    assert status(secret) == 401
