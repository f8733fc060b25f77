"""The proxy's certificate and its key, as files in PEM."""

from __future__ import annotations

import hashlib
import re
import ssl
from pathlib import Path

from appliance.errors import SettingsError

_FIRST = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def load_into(context: ssl.SSLContext, certificate: Path, key: Path, prefix: str = "") -> bytes:
    """Load TLS_CERT (a certificate, and the chain that signed it) and TLS_KEY into a context.

    Returns the certificate in DER form. Raises SettingsError that says what is wrong with the files; the settings'
    names begin with `prefix`.
    """
    for name, path in {f"{prefix}TLS_CERT": certificate, f"{prefix}TLS_KEY": key}.items():
        try:
            path.read_bytes()
        except OSError as error:
            raise SettingsError(f"{name} {path} cannot be read: {error.strerror}") from error
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise SettingsError(
            f"{prefix}TLS_CERT {certificate} and {prefix}TLS_KEY {key} cannot be used: "
            f"{reason.lower().replace('_', ' ')}",
            "Both must be PEM: a certificate with its chain, and the key that belongs to it, without a password.",
        ) from error
    first = _FIRST.search(certificate.read_text(errors="replace"))
    return ssl.PEM_cert_to_DER_cert(first.group()) if first else b""


def fingerprint(certificate: bytes) -> str:
    """Return the SHA-256 of a certificate in DER form, in hexadecimal digits."""
    return hashlib.sha256(certificate).hexdigest()


def expires_s(certificate: Path) -> float:
    """Return when the first certificate of a file expires, in Unix seconds.

    Python reads dates only of certificates that a peer has shown, or by this function, which its own tests use.
    """
    decoded = ssl._ssl._test_decode_cert(str(certificate))  # type: ignore[attr-defined]
    return ssl.cert_time_to_seconds(decoded["notAfter"])


def require_usable(certificate: Path | None, key: Path | None, prefix: str = "") -> None:
    """Raise SettingsError if nobody could serve TLS with these files; no files mean no TLS."""
    if certificate and key:
        load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, key, prefix)


def _no_password() -> str:
    """Answer OpenSSL, which would else ask for the key's password on the terminal, and wait."""
    return ""
