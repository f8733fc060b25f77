"""The files of the page, which hold nothing of the grid: whoever reaches the proxy may read them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from proxy.request import DASHBOARD

FOLDER = Path(__file__).parent / "page"

# Nothing comes from other hosts, no script or style stands in the markup, and no other page may frame this one.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = (
    ("Cache-Control", "no-cache"),
    ("Content-Security-Policy", POLICY),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class File:
    """A file of the page, as it is sent."""

    content: bytes
    content_type: str
    tag: str

    @classmethod
    def read(cls, path: Path) -> File:
        """Read one."""
        content = path.read_bytes()
        return cls(content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:20]}"')


def load() -> dict[str, File]:
    """Return all files by the paths at which they are served."""
    found = {path.relative_to(FOLDER).as_posix(): path for path in FOLDER.rglob("*") if path.is_file()}
    files = {f"{DASHBOARD}/{name}": File.read(path) for name, path in sorted(found.items())}
    index = files.pop(f"{DASHBOARD}/index.html")
    return {DASHBOARD: index, f"{DASHBOARD}/": index, **files}
