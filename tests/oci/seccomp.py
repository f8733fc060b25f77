"""Docker's profiles of system calls, translated for an OCI runtime as Docker does it (profiles/seccomp in its source).

docs/examples/seccomp.json is Docker's default and one more entry at its end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PROFILE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "seccomp.json"
KEPT = ("names", "action", "args", "errnoRet")
CAPABILITIES = [
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID"),
    *("CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL"),
    "CAP_AUDIT_WRITE",
]  # Docker's default


def ours() -> dict[str, Any]:
    """Return the profile that the documentation offers."""
    return _translated(json.loads(PROFILE.read_text()))


def dockers_default() -> dict[str, Any]:
    """Return the profile of `docker run` without options."""
    profile = json.loads(PROFILE.read_text())
    profile["syscalls"].pop()
    return _translated(profile)


def _translated(profile: dict[str, Any]) -> dict[str, Any]:
    rules = [rule for rule in profile["syscalls"] if _applies(rule)]
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [
            {key: rule[key] for key in ("names", "action", "args", "errnoRet") if key in rule} for rule in rules
        ],
    }


def _applies(rule: dict[str, Any]) -> bool:
    wanted, unwanted = rule.get("includes", {}), rule.get("excludes", {})
    here = {"caps": set(CAPABILITIES), "arches": {"amd64", "x86", "x32"}}
    return all(
        (set(wanted[kind]) <= here[kind] if kind == "caps" else set(wanted[kind]) & here[kind])
        for kind in here
        if kind in wanted
    ) and not any(set(unwanted.get(kind, ())) & here[kind] for kind in here)
