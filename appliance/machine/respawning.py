"""A plugin of supervisord: whatever keeps a process from being started, it is started soon after that has passed.

supervisord.conf loads it as an RPC interface, supervisord's own way to extend it (supervisord.org/xmlrpc.html).
It runs inside supervisord, so nothing that keeps processes from being started can keep this from working.

Rules
 1. A process that cannot be started (fork fails, no descriptors, no program) is tried again every 1 to 3 seconds. By
    itself supervisord waits a second longer each time, and gives up after `startretries`.
 2. A process that fails within a second of its start waits a second: it must not spin.
 3. A start that fails leaves no descriptor behind. supervisord forgets to close the pipes when it cannot open the log
    file, and goes on polling them when it cannot fork.
 4. What killed workers leave becomes supervisord's, which fetches its exit status: PID 1 of a container may not.
 5. supervisord looks after a process that ends at once. By itself it sleeps for up to a second before each step, also
    before it starts or stops the next group.
 6. A process that is told to stop before it has executed its program ends. Without this, it would run its copy of
    supervisord's own handler and lose the signal.

It imports little, for it lives in supervisord as long as the appliance does.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import Any

from supervisor import events
from supervisor.states import ProcessStates
from supervisor.xmlrpc import Faults, RPCError

from appliance.machine import kernel

LONGEST_DELAY_S = 3
QUICK_FAILURE_S = 1.0


def make_interface(supervisord: Any) -> Respawning:
    """Return the plugin, as supervisord asks for it when it starts."""
    return Respawning(supervisord)


class Respawning:
    """Looks after the starts of supervisord's processes; its public methods are those of the RPC interface."""

    def __init__(self, supervisord: Any) -> None:
        """Listen to supervisord's events, and to the pipes that it makes."""
        self._supervisord = supervisord
        self._options = supervisord.options
        self._make_pipes = self._options.make_pipes
        self._options.make_pipes = self._note_pipes
        self._options.fork = fork
        self._pipes: dict[str, int | None] = {}  # of the start that is under way
        self._to_be_started: set[str] = set()
        self._bell = Bell()
        for event, callback in (
            (events.SupervisorRunningEvent, self._adopt),
            (events.SupervisorStoppingEvent, self._pass_empty_groups),
            (events.ProcessStateStartingEvent, self._begin),
            (events.ProcessStateBackoffEvent, self._hasten),
            (events.ProcessStateExitedEvent, self._slow_down),
            (events.ProcessStateStoppedEvent, self._start_again),
        ):
            events.subscribe(event, callback)

    def restart(self, group: str, name: str) -> bool:
        """Stop a process and start it again, even if nobody waits for that."""
        process = self._find(group, name)
        if process.state in (ProcessStates.RUNNING, ProcessStates.STARTING):
            self._to_be_started.add(name)
            if failure := process.stop():
                raise RPCError(Faults.FAILED, failure)
        elif process.state == ProcessStates.STOPPING:
            self._to_be_started.add(name)
        elif process.state == ProcessStates.BACKOFF:
            process.delay = 0
        else:
            process.spawn()
        return True

    def _find(self, group: str, name: str) -> Any:
        try:
            return self._supervisord.process_groups[group].processes[name]
        except KeyError:
            raise RPCError(Faults.BAD_NAME, f"{group}:{name}") from None

    def _adopt(self, _: Any) -> None:
        """Rules 4 and 5; not before supervisord has gone into the background, which makes another process of it."""
        kernel.adopt_orphans()
        sockets = self._options.get_socket_map()
        for descriptor in [number for number, one in sockets.items() if isinstance(one, Bell)]:
            del sockets[descriptor]  # of before a reload
        sockets[self._bell.descriptor] = self._bell
        self._bell.ring_on_signals()
        self._bell.ring()

    def _pass_empty_groups(self, _: Any) -> None:
        """Rule 5: wait for no group that has no processes."""
        self._supervisord.stop_groups = [group for group in self._supervisord.stop_groups if group.processes]

    def _note_pipes(self, stderr: bool = True) -> dict[str, int | None]:
        self._pipes = self._make_pipes(stderr)
        return self._pipes

    def _begin(self, _: Any) -> None:
        self._pipes = {}

    def _hasten(self, event: Any) -> None:
        """Rules 1 and 3: a start has failed."""
        process = event.process
        process.backoff = min(process.backoff, LONGEST_DELAY_S)
        process.delay = time.time() + process.backoff
        if not process.pid:
            process.dispatchers = {}
            if process.pipes is not self._pipes:
                self._options.close_parent_pipes(self._pipes)
                self._options.close_child_pipes(self._pipes)
            self._pipes = {}

    def _slow_down(self, event: Any) -> None:
        """Rule 2."""
        self._bell.ring()
        process = event.process
        if not event.expected and 0 <= time.time() - process.laststart < QUICK_FAILURE_S:
            process.change_state(ProcessStates.BACKOFF)

    def _start_again(self, event: Any) -> None:
        """Make supervisord treat a process that was stopped for a restart as one that it has not started yet."""
        self._bell.ring()
        process = event.process
        if process.config.name in self._to_be_started:
            self._to_be_started.discard(process.config.name)
            process.laststart = 0


def fork() -> int:
    """Fork as os.fork does. SIGTERM ends the child from its first moment on (rule 6)."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


class Bell:
    """Rule 5: wakes supervisord, which otherwise sleeps for up to a second; it looks like one of its sockets."""

    def __init__(self) -> None:
        """Make the pipe that is written to when the bell rings; a reload of supervisord closes it."""
        self.descriptor, self._rope = os.pipe()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self._rope, False)

    def ring_on_signals(self) -> None:
        """Ring when a signal has come; SIGCHLD says that a process has ended."""
        signal.set_wakeup_fd(self._rope, warn_on_full_buffer=False)

    def ring(self) -> None:
        """Make supervisord look after its processes once more before it sleeps."""
        with suppress(BlockingIOError):  # it has rung often enough
            os.write(self._rope, b"\0")

    def readable(self) -> bool:
        """Return whether supervisord polls it."""
        return True

    def writable(self) -> bool:
        """Whether it waits for room to write."""
        return False

    def handle_read_event(self) -> None:
        """Forget the ringing; supervisord is awake."""
        os.read(self.descriptor, 4096)

    def handle_error(self) -> None:
        """Ignore that there was nothing to read."""
