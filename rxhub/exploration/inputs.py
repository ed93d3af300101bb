"""The inputs of `read_events`: paths, URLs, file objects and iterables. Each can be opened, read once, and closed."""

from __future__ import annotations

import io
import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

from rxhub.exploration.url import open_url, printable_url

__all__ = ["FileInput", "Input", "Opened", "PathInput", "UrlInput", "byte_input"]


class Opened(NamedTuple):
    """An opened input, and its size in bytes if it is known."""

    stream: BinaryIO
    size: int | None


class Input(Protocol):
    """Something that contains events as bytes.

    Attributes:
        name: for messages, without secrets.
        is_repeatable: whether it can be opened again.
        is_local: whether opening it needs no network.
    """

    name: str
    is_repeatable: bool
    is_local: bool

    def open(self) -> Any:
        """A context manager of an `Opened`."""
        ...


class PathInput:
    """A file of the file system."""

    is_local = True

    def __init__(self, path: Path) -> None:
        path.stat()  # a missing file is reported before it is read
        self.name = str(path)
        self.is_repeatable = path.is_file()
        self._path = path

    @contextmanager
    def open(self) -> Generator[Opened]:
        with self._path.open("rb") as stream:
            yield Opened(stream, os.fstat(stream.fileno()).st_size if self.is_repeatable else None)


class UrlInput:
    """A document at an http(s) URL. Each reading requests it again."""

    is_repeatable = True
    is_local = False

    def __init__(self, url: str) -> None:
        self.name = printable_url(url)
        self._url = url

    @contextmanager
    def open(self) -> Generator[Opened]:
        with open_url(self._url) as (stream, size):
            yield Opened(stream, size)


class FileInput:
    """A file object, of bytes or of text. It stays open, and is read from its present position."""

    is_local = True

    def __init__(self, file: Any) -> None:
        self.name = str(getattr(file, "name", "(file)"))
        self._file: Any = getattr(file, "buffer", file)
        self._is_text = isinstance(self._file, io.TextIOBase)
        try:
            self._start: int | None = self._file.tell() if self._file.seekable() else None
        except (AttributeError, OSError):
            self._start = None
        self.is_repeatable = self._start is not None

    @contextmanager
    def open(self) -> Generator[Opened]:
        if self._start is not None:
            self._file.seek(self._start)
        yield Opened(cast("BinaryIO", _Encoded(self._file)) if self._is_text else self._file, None)


class _Encoded(io.RawIOBase):
    """A text file as bytes in UTF-8."""

    def __init__(self, file: io.TextIOBase) -> None:
        self._file = file
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._left or self._file.read(max(1, len(buffer))).encode("utf-8", "surrogatepass")
        count = min(len(data), len(buffer))
        buffer[:count], self._left = data[:count], data[count:]
        return count


def byte_input(source: object) -> Input | None:
    """The input of a path, a URL or a file object; None for an iterable.

    Raises:
        TypeError: if it is none of them.
        ValueError: if the scheme of a URL is not http or https.
        OSError: if the path does not exist.
    """
    if isinstance(source, str) and "://" in source:
        return UrlInput(source)
    if isinstance(source, (str, os.PathLike)):
        return PathInput(Path(cast("str | os.PathLike[str]", source)))
    if hasattr(source, "read"):
        return FileInput(source)
    if isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray)):
        return None
    raise TypeError(f"Events are read from a path, a URL, a file or an iterable, not from {type(source).__name__}.")
