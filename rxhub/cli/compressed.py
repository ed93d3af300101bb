"""Decompress gzip and Zstandard, detected by the first bytes, in files and pipes."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import Any, BinaryIO, cast

from rxhub.errors import RxHubError

__all__ = ["UnsupportedFormat", "damage_reason", "decompress"]

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_MAGIC_BYTES = 6
# JSON never starts with the first byte of these, so reading the rest of the magic number delays no line.
_OTHERS = {
    b"BZh": "bzip2: bzip2 -dc",
    b"\xfd7zXZ\x00": "xz: xz -dc",
    b"\x04\x22\x4d\x18": "lz4: lz4 -dc",
    b"PK\x03\x04": "zip: unzip -p",
    b"\xff\xfe": "UTF-16 text: iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "UTF-16 text: iconv -f UTF-16 -t UTF-8",
}


class UnsupportedFormat(RxHubError, ValueError):
    """The format of an input cannot be read."""


def decompress(stream: BinaryIO) -> BinaryIO:
    """Return a stream of the decompressed bytes, or the stream itself if it is not compressed.

    Raises:
        UnsupportedFormat: if its format cannot be read. The message starts with "is".
    """
    if not hasattr(stream, "peek"):
        stream = cast("BinaryIO", io.BufferedReader(_WithHead(b"", stream)))
    # For a pipe, this is only what has arrived so far.
    head = cast("io.BufferedReader", stream).peek(_MAGIC_BYTES)[:_MAGIC_BYTES]
    if not head or not any(magic[:1] == head[:1] for magic in (_GZIP, _ZSTD, *_OTHERS)):
        return stream
    if len(head) < _MAGIC_BYTES:
        head = stream.read(_MAGIC_BYTES)
        stream = cast("BinaryIO", io.BufferedReader(_WithHead(head, stream)))
    if head.startswith(_GZIP):
        return cast("BinaryIO", gzip.GzipFile(fileobj=stream))
    if head.startswith(_ZSTD):
        return _zstd(stream)
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            kind, _, command = name.partition(": ")
            raise UnsupportedFormat(
                f"is {kind}, which is not supported. Decode it first: {command} FILE | rxhub filter …"
            )
    return stream


def damage_reason(error: Exception) -> str:
    """Return the message for an error of decompression; empty for other errors."""
    if isinstance(error, EOFError):
        return "the compressed data is truncated"
    if isinstance(error, (gzip.BadGzipFile, zlib.error)) or type(error).__name__ == "ZstdError":
        return f"the compressed data is damaged ({error})"
    return ""


def _zstd(stream: BinaryIO) -> BinaryIO:
    try:
        from compression.zstd import ZstdFile  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports, reportUnknownVariableType]
    except ModuleNotFoundError:
        try:
            from backports.zstd import ZstdFile  # pyright: ignore[reportMissingImports, reportUnknownVariableType]
        except ModuleNotFoundError:
            raise UnsupportedFormat(
                "is compressed with Zstandard, which needs backports.zstd before Python 3.14: pip install 'rxhub[cli]'"
            ) from None
    return cast("BinaryIO", cast("Any", ZstdFile)(stream))


class _WithHead(io.RawIOBase):
    """Bytes that were read already, followed by the rest of the stream."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head[: len(buffer)] or cast("io.BufferedReader", self._rest).read1(len(buffer))
        self._head = self._head[len(data) :]
        buffer[: len(data)] = data
        return len(data)
