"""Every error of the appliance.

ApplianceError
├─ SettingsError            the settings contradict themselves or the machine
│  └─ OpenToAll             HOST is not loopback, and the grid has no token
├─ LaunchError              a driver or browser did not start
├─ SupervisorError          supervisord is away, or refused
│  └─ NotRunning            the appliance is not running
├─ FirewallError            the firewall rules that keep pages from private networks cannot be made
└─ RequestError             a client is answered with an error: request_errors.py
DialFailed                  the worker that was claimed could not be reached, with the part to blame
ClientGone                  the client hung up, so there is nobody to answer
"""

from __future__ import annotations

from enum import StrEnum


class ApplianceError(Exception):
    """Something went wrong that a person can fix; `hint` says how."""

    hint: str = ""

    def __init__(self, message: str, hint: str = "") -> None:
        """Set the message, one sentence, and optionally a hint that replaces the class's own."""
        super().__init__(message)
        if hint:
            self.hint = hint


class SettingsError(ApplianceError):
    """One or more settings are wrong; the message names every one of them."""


class OpenToAll(SettingsError):
    """HOST is not loopback, and the grid has no token."""

    hint = (
        "Run `applctl token create NAME` first, or set APPLIANCE_TOKEN; or set ALLOW_ANONYMOUS=true if that is "
        "intended."
    )

    def __init__(self) -> None:
        """Set the message."""
        super().__init__("HOST is not loopback, and the grid has no token: anyone could open sessions")


class LaunchError(ApplianceError):
    """A driver or browser did not start."""


class SupervisorError(ApplianceError):
    """supervisord does not answer, or refused a request."""

    hint = "`applctl up` starts the appliance; `applctl doctor` says what is wrong with it."


class NotRunning(SupervisorError):
    """The appliance is not running."""

    hint = ""

    def __init__(self) -> None:
        """Set the message, which says how to start it."""
        super().__init__("The appliance is not running. Start it with `applctl up`.")


class FirewallError(ApplianceError):
    """The firewall rules cannot be made, or the kernel does not accept them."""

    hint = "The firewall needs a kernel with nftables, and CAP_NET_ADMIN. GUARD=false starts without it."


class Blame(StrEnum):
    """Which part made a dial fail. Only a worker's own fault makes it suspect.

    WORKER: its own appliance found that its driver does not answer.
    PATH: the other appliance's proxy cannot be reached, or does not prove itself.
    SELF: this proxy could not even try, for want of descriptors or memory.
    """

    WORKER = "worker"
    PATH = "path"
    SELF = "self"


class DialFailed(Exception):
    """The worker that was claimed could not be reached; `blame` says through whose fault."""

    def __init__(self, message: str, blame: Blame) -> None:
        """Set one sentence, and the part to blame."""
        super().__init__(message)
        self.blame = blame


class ClientGone(Exception):
    """The client hung up while it waited, so there is nobody to answer."""
