"""Wait until the grid is up, and show how far it is."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from appliance.checks.view import GridView, look
from appliance.cli.log_files import last_lines
from appliance.cli.output import Output
from appliance.deadline import Deadline
from appliance.errors import ApplianceError
from appliance.settings.config import Settings

_POLL_INTERVAL_S = 0.2
_MARGIN_S = 15  # for the processes themselves to start, on a slow machine
_FAILURES = 3  # starts of one process that failed, after which waiting makes no sense
_LOG_LINES = 8
_LOOK_BACK = 100
_LINE_LENGTH = 600
_ERROR = re.compile(r'level=error|"level": ?"error"')


class NotReady(ApplianceError):
    """The grid did not come up."""

    hint = (
        "It keeps trying in the background. `applctl doctor` says what is wrong, `applctl logs` shows more, and "
        "`applctl down` stops it."
    )


class Failures:
    """Counts, by process, the starts that failed: a new pid in place of one that never became ready."""

    def __init__(self) -> None:
        """Start with no failures."""
        self._pids: dict[str, int] = {}
        self.count: dict[str, int] = {}

    def note(self, view: GridView) -> list[str]:
        """Note what a look showed. Returns the processes that have just failed for the first time."""
        ready = {worker.name for worker in view.workers} | ({"proxy"} if view.proxy_answers else set())
        fresh = []
        for process in view.processes:
            before = self._pids.get(process.name, 0)
            if process.pid:
                self._pids[process.name] = process.pid
            if before not in (0, process.pid) and process.name not in ready:
                self.count[process.name] = self.count.get(process.name, 0) + 1
                fresh += [process.name] if self.count[process.name] == 1 else []
        return fresh

    def hopeless(self) -> list[str]:
        """Return the processes that keep failing."""
        return [name for name, failures in self.count.items() if failures >= _FAILURES]


def await_grid(settings: Settings, out: Output) -> None:
    """Wait until Redis, the proxy and every worker of this appliance are up, and show the progress.

    Raises NotReady when a process keeps failing, or after LAUNCH_TIMEOUT and STARTUP_STAGGER for each worker.
    """
    count = len(settings.worker_names)
    deadline = Deadline(settings.launch_timeout + count * settings.startup_stagger + _MARGIN_S)
    failures = Failures()
    with _progress(out, count) as show:
        while True:
            view = look(settings)
            show(view)
            for name in failures.note(view):
                _print_log(settings, name, out)
            if _is_up(view):
                return
            if failures.hopeless() or deadline.is_over:
                raise NotReady(_explain(view, failures))
            time.sleep(_POLL_INTERVAL_S)


def _is_up(view: GridView) -> bool:
    if view.redis_error or view.missing or not view.proxy_answers:
        return False
    # With a shared Redis, an appliance without workers of the default browser relies on the others'.
    return view.ready or not view.settings.workers_of(view.settings.default_browser_type)


def _explain(view: GridView, failures: Failures) -> str:
    hopeless = failures.hopeless()
    if hopeless:
        return f"{', '.join(hopeless)} failed {_FAILURES} times in a row; the reasons are above"
    return "the grid is not up yet: " + "; ".join(view.problems)


def _print_log(settings: Settings, name: str, out: Output) -> None:
    """Print why a process failed: the last error that it logged, else its last lines."""
    lines = last_lines(settings, name, _LOOK_BACK)
    errors = [line for line in lines if _ERROR.search(line)]
    out.warn(f"{name} failed:")
    for line in errors[-1:] or lines[-_LOG_LINES:]:
        out.say(f"  {line[:_LINE_LENGTH]}")


@contextmanager
def _progress(out: Output, total: int) -> Iterator[Callable[[GridView], None]]:
    """Return what shows the progress: as a bar on a terminal, else as a line for each change."""
    if not out.console.is_terminal:
        shown: set[str] = set()

        def show_line(view: GridView) -> None:
            line = f"{_status(view)} {total - len(view.missing)}/{total}"
            if line not in shown:
                out.say(line)
            shown.add(line)

        yield show_line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out.console) as progress:
        task = progress.add_task("starting", total=total)
        yield lambda view: progress.update(task, description=_status(view), completed=total - len(view.missing))


def _status(view: GridView) -> str:
    redis = "starting" if view.redis_error or not view.running else "ready"
    proxy = "ready" if view.proxy_answers else "starting"
    return f"Redis {redis}, proxy {proxy}, workers ready"
