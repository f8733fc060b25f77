"""TLS on the proxy's port: sockets for the relay's pumps, and a certificate that may change.

Rules
 1. A pump works on sockets that do not block, and on level-triggered watchers of their descriptors. A
    watcher knows nothing of bytes that OpenSSL has read and not handed out yet. So each read has room for a whole
    record (RFC 8446, section 5.1: at most 2^14 bytes): then OpenSSL, which reads one record at a time, keeps nothing
    back.
 2. A write that could not be done is repeated with the same bytes first. Python sets
    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, so they may lie elsewhere, and more may follow them.
 3. No renegotiation: a write so never waits for a read.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

from gevent.ssl import SSLContext, SSLSocket

from appliance import logs
from appliance.errors import SettingsError
from appliance.machine import certificate

log = logs.get_logger()

RECORD_BYTES = 2**14
SMALL_BYTES = 4096  # a record below is a message of its own: to look for another costs more than to be called again
HANDSHAKE = b"\x16"  # the first byte that a TLS client sends: a record's type (RFC 8446, section 5.1)

_Print = tuple[tuple[int, int, int], ...]


class TlsSocket(SSLSocket):
    """A client's connection over TLS."""

    _sock: socket.socket  # gevent's names for the plain socket and for OpenSSL's session
    _sslobj: Any
    certificate: str  # SHA-256 of the certificate that the connection is secured with, in hexadecimal digits

    def shutdown(self, how: int) -> None:
        """End as TLS wants it, with close_notify, before TCP ends; the peer's own is not waited for."""
        if self._sslobj is not None and how != socket.SHUT_RD:
            with suppress(OSError):  # it says that the peer has not answered
                self._sslobj.shutdown()
        super().shutdown(how)

    def without_blocking(self) -> Transport:
        """Return what a pump moves bytes by, once the handshake is done."""
        return Transport(self)


class Transport:
    """Reads and writes like a socket that does not block; both raise BlockingIOError."""

    __slots__ = ("_read", "_socket", "_write")

    def __init__(self, sock: TlsSocket) -> None:
        """Set a connection whose handshake is done."""
        self._read, self._write = sock._sslobj.read, sock._sslobj.write
        self._socket = sock._sock  # without gevent, whose sockets wait

    def recv_into(self, buffer: bytearray | memoryview) -> int:
        """Read whole records into a buffer with room for one at least; 0 is the end."""
        view, size, last = memoryview(buffer), 0, len(buffer) - RECORD_BYTES
        while size <= last:
            try:
                got = self._read(RECORD_BYTES, view[size:])
            except ssl.SSLWantReadError:
                if not size:
                    raise BlockingIOError from None
                return size
            except OSError:
                # Also SSLWantWriteError: a peer that changes its keys while it reads nothing of what
                # it is sent. Nobody does that in earnest, and to try again at once would be to spin.
                got = 0
            if not got:
                if size:  # the end must be found again, though its close_notify is read
                    self._wake_reader()
                return size
            size += got
            if got < SMALL_BYTES:  # most likely nothing follows; if it does, the watcher calls again
                break
        return size

    def send(self, data: bytes | memoryview) -> int:
        """Write as many records as the kernel takes at once."""
        view, sent = memoryview(data), 0
        try:
            while sent < len(view):
                sent += self._write(view[sent:])
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            if not sent:
                raise BlockingIOError from None
        return sent

    def _wake_reader(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)


class _Context(SSLContext):
    sslsocket_class = TlsSocket


class Tls:
    """The certificate, and the connections that are secured with it."""

    def __init__(self, certificate_file: Path, key_file: Path) -> None:
        """Load the files; raises SettingsError if that cannot be done."""
        self._files = certificate_file, key_file
        self._print = self._look()
        self._context, self.certificate, self.expires_s = self._load()

    def secure(self, sock: socket.socket) -> TlsSocket:
        """Return a client's connection over TLS; its handshake is not done yet."""
        secured = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        assert isinstance(secured, TlsSocket)  # noqa: S101  # as the context's class says
        secured.certificate = self.certificate
        return secured

    def reload(self) -> bool:
        """Serve new connections with the files as they are now, unless they are broken.

        Return whether another certificate is served.
        """
        if (found := self._look()) == self._print:
            return False
        self._print, before = found, self.certificate
        try:
            self._context, self.certificate, self.expires_s = self._load()
        except SettingsError as error:
            log.error("certificate.broken", error=str(error))
        else:
            log.info("certificate.loaded", file=str(self._files[0]))
        return self.certificate != before

    def _load(self) -> tuple[_Context, str, float]:
        """Build a context of its own: in one that is in use, half of a broken pair would be left.

        Returns it with its certificate's fingerprint, and when that expires (Unix seconds).
        """
        context = _Context(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        served = certificate.load_into(context, *self._files)
        return context, certificate.fingerprint(served), certificate.expires_s(self._files[0])

    def _look(self) -> _Print:
        """Return the files' states; that a file is missing is a state, too."""
        return tuple(_look_at(file) for file in self._files)


def secure_dialled(sock: socket.socket) -> TlsSocket:
    """Return a connection to another appliance over TLS; the caller judges its certificate.

    Raises OSError; then the connection is closed.
    """
    secured = _DIALLING.wrap_socket(sock, do_handshake_on_connect=False)
    assert isinstance(secured, TlsSocket)  # noqa: S101  # as the context's class says
    try:
        secured.do_handshake()
        secured.certificate = certificate.fingerprint(secured.getpeercert(binary_form=True) or b"")
    except BaseException:
        secured.close()
        raise
    return secured


def _dialling_context() -> _Context:
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


_DIALLING = _dialling_context()


def _look_at(file: Path) -> tuple[int, int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_ino, found.st_size
