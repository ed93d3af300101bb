"""`rxhub filter` and `rxhub explain` read compressed files, and say what is wrong with others."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.terminal import EVENTS, rxhub

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BOTH = pytest.mark.parametrize("compress", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
Compress = Callable[[bytes], bytes]


@BOTH
def test_a_compressed_file_is_read(tmp_path: Path, compress: Compress) -> None:
    path = tmp_path / "events.log"  # known by its content
    path.write_bytes(compress(EVENTS.read_bytes()))
    ran = rxhub("filter", "--count", "topic=studio.*", path, EVENTS)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"362\n", b"")


@BOTH
def test_compressed_data_is_read_from_a_pipe(compress: Compress) -> None:
    ran = rxhub("filter", "topic=studio.*", stdin=compress(EVENTS.read_bytes()))
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout == rxhub("filter", "topic=studio.*", EVENTS).stdout


@BOTH
def test_parts_that_were_appended_are_read(compress: Compress) -> None:
    ran = rxhub("filter", "topic=*", stdin=compress(b'{"topic":"a"}\n') + compress(b'{"topic":"b"}\n'))
    assert (ran.returncode, ran.stdout) == (0, b'{"topic":"a"}\n{"topic":"b"}\n')


@BOTH
def test_what_was_cut_off_is_read_up_to_there_and_reported(compress: Compress) -> None:
    data = compress(EVENTS.read_bytes() * 30)
    ran = rxhub("filter", "--count", "topic=*", stdin=data[: len(data) * 2 // 3])
    assert ran.returncode == 2 and int(ran.stdout) > 100
    assert ran.stderr.count(b"\n") == 1 and b"truncated after line" in ran.stderr


@BOTH
def test_damaged_data_is_reported_in_a_line(compress: Compress) -> None:
    data = bytearray(compress(EVENTS.read_bytes() * 30))
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    ran = rxhub("filter", "--count", "topic=*", stdin=bytes(data))
    assert ran.returncode == 2
    assert b"compressed data is" in ran.stderr
    assert ran.stderr.count(b"\n") <= 12 and b"Traceback" not in ran.stderr


@BOTH
def test_a_compressed_event_is_explained(tmp_path: Path, compress: Compress) -> None:
    path = tmp_path / "event.json"
    path.write_bytes(compress(b'{\n"topic":"a"\n}\n'))
    assert rxhub("explain", "topic=a", path).returncode == 0
    path.write_bytes(path.read_bytes()[:-6])
    ran = rxhub("explain", "topic=a", path)
    assert ran.returncode == 2 and b"truncated" in ran.stderr


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (bz2.compress(b"{}"), b"bzip2 -dc"),
        (lzma.compress(b"{}"), b"xz -dc"),
        (b"PK\x03\x04rest", b"unzip"),
        ('{"topic":"a"}'.encode("utf-16"), b"iconv -f UTF-16"),
    ],
    ids=["bzip2", "xz", "zip", "UTF-16"],
)
def test_another_format_is_named_with_what_decodes_it(data: bytes, named: bytes) -> None:
    for command in ("filter", "explain"):
        ran = rxhub(command, "topic=a", *(["-"] if command == "explain" else []), stdin=data)
        assert (ran.returncode, ran.stdout, ran.stderr.count(b"\n")) == (2, b"", 1)
        assert named in ran.stderr


@pytest.mark.parametrize("data", [b"\x1f", b"(", b"P", b"\x1f\x8b", b"\x1f\x8bgarbage", b"\x28\xb5\x2f\xfd"], ids=repr)
def test_too_little_to_be_known_is_an_error(data: bytes) -> None:
    ran = rxhub("filter", "topic=a", stdin=data)
    assert ran.returncode == 2 and b"Traceback" not in ran.stderr and ran.stderr.count(b"\n") == 1


def test_ten_invalid_lines_of_a_file_are_reported_and_the_others_counted(tmp_path: Path) -> None:
    path, other = tmp_path / "binary", tmp_path / "other"
    path.write_bytes(b"\x00nothing\n" * 1_626 + b'{"topic":"a"}\n')
    other.write_bytes(b"[]\n")
    ran = rxhub("filter", "topic=a", path, other)
    reported = ran.stderr.decode().splitlines()
    assert (ran.returncode, ran.stdout, len(reported)) == (2, b'{"topic":"a"}\n', 12)
    assert reported[10].endswith("1,616 more invalid lines") and reported[11].startswith(f"rxhub: {other}:1:")
