"""The configuration of the appliance's own Redis: only its account may read it, because it may hold a password."""

from __future__ import annotations

import os

from appliance.machine.accounts import accounts_of
from appliance.settings.config import Settings
from appliance.settings.redis_url import split_address

_CLIENTS_MAX = 65_000  # each worker has two connections; Redis lowers it, and logs that, if it may open fewer files

# It keeps nothing on disk: workers and proxies bring the state back if it restarts. The title names the
# socket whatever else it listens on: by that `applctl down` finds one whose supervisord is gone.
_TEXT = """\
daemonize no
save ""
appendonly no
dir "{run_dir}"
unixsocket "{socket}"
unixsocketperm 660
proc-title-template "{{title}} {{unixsocket}} {{listen-addr}}"
"""


def text(settings: Settings) -> str:
    """Return the configuration; RUN_DIR has no characters that Redis would unquote (`environment.export` checks)."""
    lines = [_TEXT.format(run_dir=settings.run_dir, socket=settings.paths.redis_socket)]
    if settings.redis_password:
        lines.append(f'requirepass "{settings.redis_password.get_secret_value()}"\n')
    if not settings.redis_listen:
        return "".join([*lines, "port 0\n"])
    host, port = split_address(settings.redis_listen)
    lines.append(f"bind {host}\nmaxclients {_CLIENTS_MAX}\n")
    if not settings.redis_tls_cert:
        return "".join([*lines, f"port {port}\n"])
    lines.append(f"port 0\ntls-port {port}\ntls-auth-clients no\n")
    lines.append(f'tls-cert-file "{settings.redis_tls_cert}"\ntls-key-file "{settings.redis_tls_key}"\n')
    return "".join(lines)


def write(settings: Settings) -> None:
    """Write the configuration into RUN_DIR."""
    path = settings.paths.redis_conf
    path.unlink(missing_ok=True)  # one of an earlier run may be another account's, or readable
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "w") as out:
        if accounts := accounts_of(settings):
            os.fchown(file, accounts.service.uid, -1)
        out.write(text(settings))
