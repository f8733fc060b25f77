"""Zeros in the content encodings of HTTP (RFC 9110, section 8.4.1): few bytes, which become many."""

from __future__ import annotations

import gzip
import struct
import zlib
from base64 import b64decode
from collections.abc import Iterator
from itertools import repeat

ENCODINGS = ("identity", "gzip", "deflate", "br")

_MIB = bytes(1 << 20)
_256_MIB_IN_BROTLI = b64decode(  # the library has no compressor for it
    "z///f/gnAOKxQCD3/p/////wTwDEYQGA7v0/////4Z8AiMMiAN37f/7//8M/ARCHBQC69//8//+HfwIgDgsAdO//+f//D/8EQBwW"
    "AOje//P//x/+CYA4LADQvf/n//8//BMAcVgAoHv/z///f/gnAOKwAED3/p/////wTwDEYQGA7v0/////4Z8AiMMCAN37f/7//8M/"
    "ARCHBQC69//8//+HfwIgDgsAdO//+f//D/8EQBwWAOje//P//x/+CYA4LADQvf/P//9//BMAcVgAoHv/Dw=="
)


def zeros(encoding: str, mebibytes: int) -> Iterator[bytes]:
    """Yield so many zeros, encoded; in `br`, always 256 MiB."""
    if encoding == "br":
        yield _256_MIB_IN_BROTLI
    elif encoding == "deflate":
        yield from _deflated(mebibytes)
    else:
        block = gzip.compress(_MIB) if encoding == "gzip" else _MIB
        yield from repeat(block, mebibytes)


def _deflated(mebibytes: int) -> Iterator[bytes]:
    """Yield a stream whose blocks, all the same, refer to nothing before them, with the checksum of all (RFC 1950)."""
    packer = zlib.compressobj()
    yield packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    yield from repeat(packer.compress(_MIB) + packer.flush(zlib.Z_FULL_FLUSH), mebibytes)
    yield packer.flush()[:-4] + struct.pack(">I", (mebibytes * len(_MIB) % 65521) << 16 | 1)
