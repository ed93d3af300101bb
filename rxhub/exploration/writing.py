"""Write events to files: JSON lines or an array, plain or compressed."""

from __future__ import annotations

import gzip
import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from rxhub.event import Event
from rxhub.exploration.compression import zstd_file
from rxhub.text.jsonable import jsonable
from rxhub.transport.json_payload import write_json

__all__ = ["write_events"]


def write_events(path: str | os.PathLike[str], events: Iterable[Event | Mapping[str, Any]]) -> Path:
    """Write events to a file, which `read_events` and the command line read.

    The name selects the format: `.json` is an array, any other name JSON lines. `.gz` and `.zst` after it compress the
    file with gzip or Zstandard. An existing file is replaced when the last event has been written, so the events may
    come from the same file.

    Values that JSON does not support are written as their representation, NaN and infinity as null.

    Returns:
        The path.
    """
    path = Path(path)
    is_array = path.name.removesuffix(".gz").removesuffix(".zst").endswith(".json")
    with _replaced(path) as plain, _compressed(plain, path.suffix) as stream:
        stream.writelines(_array(events) if is_array else (_json(event) + b"\n" for event in events))
    return path


def _array(events: Iterable[Event | Mapping[str, Any]]) -> Iterator[bytes]:
    separator = b"[\n"
    for event in events:
        yield separator + _json(event)
        separator = b",\n"
    yield b"[]\n" if separator == b"[\n" else b"\n]\n"


def _json(event: Event | Mapping[str, Any]) -> bytes:
    fields = event.to_wire() if isinstance(event, Event) else Event.from_wire(event).to_wire()
    try:
        return write_json(fields).encode()
    except (TypeError, ValueError, OverflowError, RecursionError):
        return write_json(jsonable(fields)).encode()


@contextmanager
def _compressed(stream: BinaryIO, suffix: str) -> Generator[BinaryIO]:
    if suffix == ".gz":
        # Without a time, the same events give the same file.
        with gzip.GzipFile(fileobj=stream, mode="wb", mtime=0, filename="") as file:
            yield cast("BinaryIO", file)
    elif suffix == ".zst":
        with zstd_file(stream, "wb") as file:
            yield file
    else:
        yield stream


@contextmanager
def _replaced(path: Path) -> Generator[BinaryIO]:
    """A new file that replaces the path at the end; the path itself if it is a device or a pipe."""
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            yield stream
        return
    target = path.resolve()
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with temporary.open("xb") as stream:
            yield stream
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
