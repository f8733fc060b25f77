"""The accounts of an appliance that root starts: SERVICE_USER and BROWSER_USER.

Rules
 1. supervisord stays root's; Redis and the proxy run as SERVICE_USER.
 2. Each worker has a user id of its own, by its name, so that a browser that broke out can neither read nor end what
    another has. The ids have no names. They are taken from BROWSER_UIDS, one block for each RUN_DIR. If another RUN_DIR
    has the same block by chance, or a program one of the ids, `applctl up` refuses (user_ids.py).
 3. It is the worker's effective user id: so the worker sees, and may end, what its browser leaves. Its real user id is
    another, so that the browser may not end or pause it: kill(2) checks the real one. Its real group is BROWSER_USER's;
    its effective one is SERVICE_USER's, by which it reaches Redis.
 4. Driver and browser have only the worker's effective user id and its real group (kernel.bound_to_parent). The kernel
    notes a process's group in each of its sockets: by it the firewall recognises browsers.
 5. A worker starts as root and changes to its user id itself (`become_worker`). From then on only root may look
    at its memory and environment; not even its own browser may.
 6. The processes that drive agents' browsers (workers/mcp) have a user id of their own and the browsers' group: Redis,
    tokens and secrets are closed to them, and so is what the firewall refuses to browsers.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from appliance.errors import SettingsError
from appliance.machine import kernel
from appliance.names import Browser
from appliance.run_dir import RunDir
from appliance.settings.accounts import UIDS_NEEDED

_SETPRIV = "setpriv --no-new-privs"  # util-linux; no program that they start may give them more rights
_FIRST_FREE_PORT = 1024  # ip(7): those below it need CAP_NET_BIND_SERVICE
_TRIAL = "import os, sys, appliance.settings.config, {}; os.chdir(sys.argv[1])"
_TRIAL_TIMEOUT_S = 120  # an emulated machine imports for half a minute

_WORKERS = UIDS_NEEDED // 2 // len(Browser)  # of one browser
_ALL_WORKERS = _WORKERS * len(Browser)


class Named(Protocol):
    """The settings that name the accounts and what they share."""

    service_user: str | None
    browser_user: str | None
    browser_uids: str
    run_dir: Path
    port: int


@dataclass(frozen=True, slots=True)
class Account:
    """An account of this machine with its own group."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Accounts:
    """The two accounts, the user ids of workers, and the commands that put a program under them."""

    service: Account
    browser: Account
    first_uid: int

    def uid_of(self, name: str) -> int:
        """Return the user id of a worker, by its name such as "chromium-00"; raises SettingsError for another name."""
        browser, _, number = name.rpartition("-")
        if browser not in list(Browser) or not number.isdecimal() or int(number) >= _WORKERS:
            raise SettingsError(f"WORKER_NAME is {name}, which has no user id", "Workers are started by `applctl up`.")
        return self.first_uid + list(Browser).index(Browser(browser)) * _WORKERS + int(number)

    @property
    def uids(self) -> range:
        """The user ids of all workers that the appliance may have."""
        return range(self.first_uid, self.first_uid + UIDS_NEEDED)

    @property
    def agents_uid(self) -> int:
        """The user id of the processes that drive agents' browsers: the last, which workers leave (cross_checks.py)."""
        return self.uids[-1]

    @property
    def own_uids(self) -> range:
        """The real user ids of workers, which no browser has: rule 3."""
        return self.uids[_ALL_WORKERS:]

    def as_service(self, port: int) -> list[str]:
        """What to put before a command of Redis or the proxy, which listens on a port that may be root's.

        Further groups of the account may let the proxy read a TLS key.
        """
        own = self.service
        capability = [] if port >= _FIRST_FREE_PORT else ["inh", "ambient"]
        kept = [f"--{kind}-caps=+net_bind_service" for kind in capability]
        return [*_SETPRIV.split(), f"--reuid={own.uid}", f"--regid={own.gid}", "--init-groups", *kept]

    @property
    def as_worker(self) -> list[str]:
        """What to put before a command to run it with the rights of the first worker."""
        user, group = f"--reuid={self.first_uid}", f"--rgid={self.browser.gid}"
        return ["setpriv", user, group, f"--egid={self.service.gid}", "--clear-groups"]

    @property
    def as_browser(self) -> list[str]:
        """What to put before a command to run it as the first worker's browser is run."""
        return [*_SETPRIV.split(), f"--reuid={self.first_uid}", f"--regid={self.browser.gid}", "--clear-groups"]


def accounts_of(settings: Named) -> Accounts | None:
    """Look up the accounts that the settings name; None if the account that starts the appliance runs all.

    Raises SettingsError if there is no such account, or one is not fit.
    """
    if settings.service_user is None or settings.browser_user is None:
        return None
    service, browser = _look_up("SERVICE_USER", settings.service_user), _look_up("BROWSER_USER", settings.browser_user)
    found = Accounts(service, browser, _first_uid(settings))
    if 0 in (found.service.uid, found.browser.uid, found.service.gid, found.browser.gid):
        raise SettingsError("SERVICE_USER and BROWSER_USER must not be root, nor have root's group", _hint("NAME"))
    if found.service.uid == found.browser.uid or found.service.gid == found.browser.gid:
        raise SettingsError(
            "SERVICE_USER and BROWSER_USER must be two accounts, each with its own group", _hint("NAME")
        )
    return found


def become_worker(settings: Named, name: str) -> None:
    """Change from root to the user id of a worker, if there are accounts; raises SettingsError."""
    accounts = accounts_of(settings)
    if accounts is None:
        return
    require_root()
    uid = accounts.uid_of(name)
    os.setgroups([])
    os.setresgid(accounts.browser.gid, accounts.service.gid, accounts.service.gid)
    own = uid + _ALL_WORKERS
    os.setresuid(own, uid, own)
    kernel.close_to_others()


def become_agents(settings: Named) -> None:
    """Change from root to the user id of the processes that drive agents' browsers, if there are accounts: rule 6.

    Raises SettingsError.
    """
    accounts = accounts_of(settings)
    if accounts is None:
        return
    require_root()
    group, uid = accounts.browser.gid, accounts.agents_uid
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(uid, uid, uid)


def worker_uid(settings: Named, name: str) -> int:
    """Return the effective user id of a worker: its own, or that of whoever starts the appliance."""
    accounts = accounts_of(settings)
    return accounts.uid_of(name) if accounts else os.getuid()


def has_own_account(settings: Named, name: str) -> bool:
    """Return whether this process is a worker with a user id that neither another worker nor a person has."""
    accounts = accounts_of(settings)
    return accounts is not None and os.geteuid() == accounts.uid_of(name)


def require_free_uids(settings: Named, names: Iterable[str]) -> None:
    """Raise SettingsError if the kernel does not know the user ids of workers here, or an account has one of them."""
    accounts = accounts_of(settings)
    if accounts is None:
        return
    remedy = "Set BROWSER_UIDS to a range of at least 1200 user ids that no account has, such as 20000-59999."
    if not kernel.knows_uids(accounts.uids):
        raise SettingsError(f"BROWSER_UIDS is {settings.browser_uids}, which this container does not have", remedy)
    for name in names:
        uid = accounts.uid_of(name)
        with suppress(KeyError):
            account = pwd.getpwuid(uid).pw_name
            raise SettingsError(f"the user id {uid}, of worker {name}, is that of the account {account}", remedy)


def _first_uid(settings: Named) -> int:
    """Choose a block of user ids by RUN_DIR. The longer the range, the less often two choose the same."""
    first, _, last = settings.browser_uids.partition("-")
    blocks = (int(last) + 1 - int(first)) // UIDS_NEEDED
    return int(first) + zlib.crc32(os.fsencode(settings.run_dir)) % blocks * UIDS_NEEDED


def browser_prefix(settings: Named) -> tuple[str, ...]:
    """Return what to put before a command to try it as browsers run; empty if this process may not."""
    accounts = accounts_of(settings)
    return tuple(accounts.as_browser) if accounts and os.geteuid() == 0 else ()


def require_root() -> None:
    """Raise SettingsError if this process may not start others under the accounts."""
    if os.geteuid() != 0:
        raise SettingsError(
            "only root can start an appliance with SERVICE_USER and BROWSER_USER",
            "Use root; or remove both settings, so that everything runs as the account that starts it.",
        )


def require_usable(settings: Named, installation: Path) -> None:
    """Raise SettingsError if the accounts may not read the installation, or not enter RUN_DIR."""
    accounts = accounts_of(settings)
    if accounts is None:
        return
    for prefix, module, folder in (
        (accounts.as_service(settings.port), "proxy", settings.run_dir),
        (accounts.as_worker, "workers", RunDir(settings.run_dir).workers),
    ):
        trial = [*prefix, sys.executable, "-c", _TRIAL.format(module), str(folder)]
        done = subprocess.run(
            trial, cwd=installation, capture_output=True, text=True, timeout=_TRIAL_TIMEOUT_S, check=False
        )
        if done.returncode:
            name = accounts.service.name if module == "proxy" else f"with user id {accounts.first_uid}"
            said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise SettingsError(
                f"the account {name} cannot run the {module} of {installation} with {sys.executable}: {said}",
                "Put the installation, its Python and RUN_DIR where that account can read them, not in root's home.",
            )


def require_readable(settings: Named, files: Mapping[str, Path | None]) -> None:
    """Raise SettingsError if Redis and the proxy may not read a file; the keys of `files` are settings."""
    accounts = accounts_of(settings)
    for setting, path in files.items():
        if accounts and path and os.geteuid() == 0 and not _may_read(accounts.as_service(settings.port), path):
            name = accounts.service.name
            raise SettingsError(
                f"{setting} {path} cannot be read by the account {name}",
                f"Let its group read the file, and enter the folders that lead there: chgrp {name} {path}; "
                f"chmod 640 {path}",
            )


def _may_read(prefix: list[str], path: Path) -> bool:
    return not subprocess.run([*prefix, "test", "-r", str(path)], check=False).returncode


def _look_up(setting: str, name: str) -> Account:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise SettingsError(f"{setting} is {name}, which is not an account of this machine", _hint(name)) from None
    return Account(name, entry.pw_uid, entry.pw_gid)


def _hint(name: str) -> str:
    return f"As root: useradd --system --user-group {name}"
