"""A plugin of supervisord: it changes which workers there are, while the others run on.

supervisord.conf loads it as an RPC interface, like respawning.py. supervisord itself can only add and remove whole
groups of processes, and all workers are in one group, with the proxy, because they stop together.

Rules
 1. A worker that is added is what supervisord.conf says of its name: the file is read again, with more processes.
 2. A worker that is let go runs on, until it ends by itself or is stopped. It is not started again then, whatever its
    end was, and supervisord forgets it.
 3. The group's processes are replaced as a whole: supervisord may be going through them.
"""

from __future__ import annotations

from typing import Any

from supervisor import events
from supervisor.states import STOPPED_STATES, ProcessStates
from supervisor.xmlrpc import Faults, RPCError

from appliance.names import Browser

GROUP = "grid"


def make_interface(supervisord: Any) -> Regrouping:
    """Return the plugin, as supervisord asks for it when it starts."""
    return Regrouping(supervisord)


class Regrouping:
    """Adds workers and lets others go; its public methods are those of the RPC interface."""

    def __init__(self, supervisord: Any) -> None:
        """Listen to the ends of processes."""
        self._supervisord = supervisord
        self._let_go: set[str] = set()
        for event in (events.ProcessStateExitedEvent, events.ProcessStateStoppedEvent, events.ProcessStateBackoffEvent):
            events.subscribe(event, self._forget_if_let_go)

    def keep(self, names: list[str]) -> list[str]:
        """Keep the workers of these names, and no others. Return the workers that are let go and still run.

        Fails, and changes nothing, if a worker is wanted that has been let go and still runs.
        """
        group = self._supervisord.process_groups[GROUP]
        if back := sorted(self._let_go & set(names)):
            raise RPCError(Faults.STILL_RUNNING, ", ".join(back))
        added = [name for name in names if name not in group.processes]
        configs = self._configs(added) if added else {}
        if missing := sorted(set(added) - set(configs)):
            raise RPCError(Faults.BAD_NAME, ", ".join(missing))
        new = {name: configs[name].make_process(group) for name in added}
        group.processes = {**group.processes, **new}
        for name in [name for name in group.processes if is_worker(name) and name not in names]:
            self._let_go.add(name)
            if group.processes[name].state in (*STOPPED_STATES, ProcessStates.BACKOFF):
                self._forget(name)
        return sorted(self._let_go)

    def _configs(self, names: list[str]) -> dict[str, Any]:
        """Read supervisord.conf with as many workers of each browser as these names need: rule 1."""
        options = self._supervisord.options
        for browser in Browser:
            numbers = [int(name.rpartition("-")[2]) for name in names if name.startswith(f"{browser}-")]
            options.environ_expansions[f"ENV_{browser.upper()}_PROCESSES"] = str(max(numbers, default=-1) + 1)
        options.process_config(do_usage=False)
        (group,) = [one for one in options.process_group_configs if one.name == GROUP]
        return {config.name: config for config in group.process_configs}

    def _forget_if_let_go(self, event: Any) -> None:
        if event.process.config.name in self._let_go:
            self._forget(event.process.config.name)

    def _forget(self, name: str) -> None:
        """Rules 2 and 3."""
        group = self._supervisord.process_groups[GROUP]
        group.processes = {other: process for other, process in group.processes.items() if other != name}
        self._let_go.discard(name)


def is_worker(name: str) -> bool:
    """Return whether a process of this name is a worker, such as "chromium-00"."""
    browser, _, number = name.rpartition("-")
    return browser in list(Browser) and number.isdecimal()
