"""`applctl monitoring`: what Prometheus and Grafana need to watch a grid."""

from __future__ import annotations

from pathlib import Path

import click

from appliance import files
from appliance.cli.command import command
from appliance.cli.output import Output
from appliance.errors import ApplianceError

SHIPPED = Path(__file__).resolve().parents[1] / "monitoring"


@command("applctl monitoring monitoring/", "applctl monitoring /etc/prometheus --json")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def monitoring(out: Output, folder: Path) -> list[str]:
    """Write a Grafana dashboard and alert rules into FOLDER.

    Also writes an example prometheus.yml. Creates the folder if necessary. An existing file that differs is not
    replaced.
    """
    shipped = sorted(SHIPPED.iterdir())
    for file in shipped:
        there = folder / file.name
        if there.exists() and there.read_bytes() != file.read_bytes():
            raise ApplianceError(f"{there} is there already, and differs", "Remove it, or name another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    for file in shipped:
        files.save(file.read_bytes(), folder / file.name)
    out.show(f"Written to {folder}: {', '.join(file.name for file in shipped)}")
    out.show("Edit the targets and the token in prometheus.yml, and import grafana.json into Grafana.")
    return [str(folder / file.name) for file in shipped]
