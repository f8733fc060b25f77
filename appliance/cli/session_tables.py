"""Tables of sessions, live and past, for `applctl sessions`."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.table import Table

from appliance.cli.output import duration, status_text, table
from appliance.grid.story import Story
from appliance.names import WorkerId

_UNITS = ("B", "kB", "MB", "GB", "TB")


def sessions_table(found: Sequence[Story], now_ms: int, appliance: str, *, is_wide: bool = False) -> Table:
    """Return a table of live sessions. A worker of this appliance has its short name, any other its id."""
    shown = table("Id", "Status", "Worker", "Client", "Age", "Name", *_MORE * is_wide)
    for story in found:
        age = duration((now_ms - (story.started_ms or 0)) / 1000)
        worker = _worker(story, appliance) or f"({story.browser})"
        first = (story.id, status_text(story.status), worker, story.client, age, story.shown_name)
        shown.add_row(*first, *_more(story) * is_wide)
    return shown


_MORE = ("Labels", "Browser", "Token", "From client", "To client")


def _more(story: Story) -> tuple[str, ...]:
    browser = f"{story.browser} {story.version}".rstrip()
    return _labels(story), browser, story.token, *_traffic(story)


def history_table(found: Sequence[Story], now_ms: int, appliance: str) -> Table:
    """Return a table of past sessions."""
    shown = table("Id", "Ended", "Waited", "Lasted", "Worker", "By", "Reason", "Name", "Labels")
    for story in found:
        ago = f"{duration((now_ms - (story.ended_ms or 0)) / 1000)} ago"
        lasted = _seconds(story.duration_ms) or "no slot"
        worker = _worker(story, appliance) or f"({story.browser})"
        cells = (worker, story.ended_by, story.end_reason, story.shown_name, _labels(story))
        shown.add_row(story.id, ago, _seconds(story.waited_ms), lasted, *cells)
    return shown


def one_table(story: Story) -> Table:
    """Return all that is known of a session, a line each."""
    shown = table("Session", story.id)
    for name, value in story.as_dict().items():
        if name == "labels":
            value = _labels(story)
        elif name.startswith("bytes_"):
            value = size(value)
        elif name in ("waited_ms", "duration_ms") and value is not None:
            value = f"{value / 1000:.1f} s"
        elif name.endswith("_ms") and value:
            value = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(value / 1000))
        if value not in (None, "") and name != "id":
            title = name.removesuffix("_ms").replace("_", " ").capitalize()
            shown.add_row(title, str(value))
    return shown


def _seconds(milliseconds: int | None) -> str:
    return "" if milliseconds is None else duration(milliseconds / 1000)


def _worker(story: Story, appliance: str) -> str:
    worker = WorkerId.parse(story.worker)
    return worker.name if worker.appliance == appliance else story.worker


def _labels(story: Story) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(story.labels.items()))


def _traffic(story: Story) -> tuple[str, str]:
    return size(story.bytes_from_client), size(story.bytes_to_client)


def size(count: float) -> str:
    for unit in _UNITS[:-1]:
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} {_UNITS[-1]}"
