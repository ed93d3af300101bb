"""Decompress streams of gzip or Zstandard. The first bytes tell the format, in files and pipes."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, BinaryIO, Literal, cast

from rxhub.errors import RxHubError
from rxhub.text.extras import missing_dependency

__all__ = ["UnreadableInput", "decompressed", "zstd_file"]

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


class UnreadableInput(RxHubError, ValueError):
    """The format of an input is not supported, or its compressed data is damaged."""


@contextmanager
def decompressed(stream: BinaryIO, name: str) -> Generator[BinaryIO]:
    """Yield a stream of the decompressed bytes, or the stream itself if it is not compressed.

    The block raises `UnreadableInput` if the format is not supported, or the data is damaged.
    """
    try:
        yield _decompressed(stream, name)
    except EOFError:
        raise UnreadableInput(f"{name}: the compressed data is truncated") from None
    except Exception as error:
        if isinstance(error, (gzip.BadGzipFile, zlib.error)) or type(error).__name__ == "ZstdError":
            raise UnreadableInput(f"{name}: the compressed data is damaged ({error})") from None
        raise


def _decompressed(stream: BinaryIO, name: str) -> BinaryIO:
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
        return zstd_file(stream)
    for magic, other in _OTHERS.items():
        if head.startswith(magic):
            kind, _, command = other.partition(": ")
            remedy = f"Decode it first: {command} FILE > events.jsonl"
            raise UnreadableInput(f"{name} is {kind}, which is not supported. {remedy}")
    return stream


def zstd_file(stream: BinaryIO, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
    """A file that decompresses what it reads from a stream, or compresses what it writes to it."""
    try:
        if sys.version_info >= (3, 14):
            from compression.zstd import ZstdFile
        else:
            from backports.zstd import ZstdFile
    except ModuleNotFoundError as error:
        raise missing_dependency(error, "Zstandard compression", "zstd") from None
    return cast("BinaryIO", ZstdFile(stream, mode))


class _WithHead(io.RawIOBase):
    """Bytes that were read already, followed by the rest of the stream."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._read: Callable[[int], bytes] = getattr(rest, "read1", rest.read)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head[: len(buffer)] or self._read(len(buffer))
        self._head = self._head[len(data) :]
        buffer[: len(data)] = data
        return len(data)
