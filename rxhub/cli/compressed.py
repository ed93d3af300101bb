"""Compressed inputs: gzip and Zstandard are recognized by their first bytes, also from a pipe."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import Any, BinaryIO, cast

from rxhub.errors import RxHubError

__all__ = ["DAMAGED", "Unreadable", "decompressed", "why_damaged"]

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_LONGEST_MAGIC = 6
# No JSON begins with the first byte of any of these, so that reading further for the rest of it delays no line.
_OTHERS = {
    b"BZh": "bzip2: bzip2 -dc",
    b"\xfd7zXZ\x00": "xz: xz -dc",
    b"\x04\x22\x4d\x18": "lz4: lz4 -dc",
    b"PK\x03\x04": "zip: unzip -p",
    b"\xff\xfe": "UTF-16 text: iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "UTF-16 text: iconv -f UTF-16 -t UTF-8",
}

DAMAGED: tuple[type[Exception], ...] = (EOFError, gzip.BadGzipFile, zlib.error)
"""What reading damaged data raises; with Zstandard, also its own error, see `why_damaged`."""


class Unreadable(RxHubError, ValueError):
    """An input that holds no JSON lines as it is."""


def decompressed(stream: BinaryIO) -> BinaryIO:
    """The stream itself or, if it is compressed, what it holds.

    Raises:
        Unreadable: if its format cannot be read; the text begins with "is".
    """
    if not hasattr(stream, "peek"):
        stream = cast("BinaryIO", io.BufferedReader(_Joined(b"", stream)))
    # Of a pipe, only what has come so far.
    head = cast("io.BufferedReader", stream).peek(_LONGEST_MAGIC)[:_LONGEST_MAGIC]
    if not head or not any(magic[:1] == head[:1] for magic in (_GZIP, _ZSTD, *_OTHERS)):
        return stream
    if len(head) < _LONGEST_MAGIC:
        head = stream.read(_LONGEST_MAGIC)
        stream = cast("BinaryIO", io.BufferedReader(_Joined(head, stream)))
    if head.startswith(_GZIP):
        return cast("BinaryIO", gzip.GzipFile(fileobj=stream))
    if head.startswith(_ZSTD):
        return _zstd(stream)
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            kind, _, command = name.partition(": ")
            raise Unreadable(f"is {kind}, which is not read; decode it first: {command} FILE | rxhub filter …")
    return stream


def why_damaged(error: Exception) -> str:
    """What to say of an error in reading compressed data; empty if it is of another kind."""
    if isinstance(error, EOFError):
        return "the compressed data is cut off"
    if isinstance(error, DAMAGED) or type(error).__name__ == "ZstdError":
        return f"the compressed data is damaged ({error})"
    return ""


def _zstd(stream: BinaryIO) -> BinaryIO:
    try:
        from compression.zstd import ZstdFile  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports, reportUnknownVariableType]
    except ModuleNotFoundError:
        try:
            from backports.zstd import ZstdFile  # pyright: ignore[reportMissingImports, reportUnknownVariableType]
        except ModuleNotFoundError:
            raise Unreadable(
                "is compressed with Zstandard, which needs backports.zstd before Python 3.14: pip install 'rxhub[cli]'"
            ) from None
    return cast("BinaryIO", cast("Any", ZstdFile)(stream))


class _Joined(io.RawIOBase):
    """What was read already, and the rest."""

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
