"""Certificates for tests, from an authority that each test makes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key, as files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority; `file` is what its clients trust."""

    def __init__(self, folder: Path) -> None:
        """Make the authority, and keep files in a folder."""
        self._authority, self._folder = trustme.CA(), folder
        self.file = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(self.file)

    def issue(self, name: str = "server", host: str = "127.0.0.1", *more: str) -> Pair:
        """Issue a certificate for one or more hosts, in files of this name, in place of earlier ones."""
        issued = self._authority.issue_cert(host, *more)
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        pair.certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(pair.key)
        return pair
