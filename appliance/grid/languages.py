"""How to install a client of a Playwright version, in the language that the client's User-Agent names."""

from __future__ import annotations

import re

# packages/playwright-core/src/server/utils/userAgent.ts: "Playwright/1.65.1 (x64; debian 12) python/3.11"
_LANGUAGE = re.compile(r"\) (csharp|java|node|python)/")


def how_to_install(user_agent: str, minor: str) -> str:
    """Return how to install a client of a version like "1.65", as a sentence for an error."""
    language = _LANGUAGE.search(user_agent)
    return {
        "csharp": _dotnet,
        "java": _java,
        "node": _node,
        "python": _python,
    }.get(language[1] if language else "", _unknown)(minor)


def _dotnet(minor: str) -> str:
    return f'Install a client of a served version: dotnet add package Microsoft.Playwright --version "{minor}.*"'


def _java(minor: str) -> str:
    major, _, number = minor.partition(".")
    following = f"{major}.{int(number or 0) + 1}"
    return (
        "Use a client of a served version: set the version of the Maven dependency com.microsoft.playwright:playwright "
        f"to [{minor},{following})"
    )


def _node(minor: str) -> str:
    return f"Install a client of a served version: npm install @playwright/test@{minor}, or playwright@{minor}"


def _python(minor: str) -> str:
    return f"Install a client of a served version: pip install 'playwright=={minor}.*'"


def _unknown(minor: str) -> str:
    return (
        f"Install a client of a served version: pip install 'playwright=={minor}.*', or npm install playwright@{minor}"
    )
