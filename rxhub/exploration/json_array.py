"""Split a JSON array into its elements without reading all of it.

The splitter only finds the end of each element, by its brackets and strings. The elements are checked when they are
decoded, so that an invalid element does not hide the ones after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from rxhub.exploration.compression import UnreadableInput

__all__ = ["read_elements"]

_REMEDY = "Write the events as JSON lines: jq -c .[] FILE > events.jsonl"
_CHUNK_BYTES = 256 * 1024
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
# Everything up to the next character of the structure; inside of elements, commas do not matter.
_TOP = re.compile(rb'(?:[^"\[\]{},]++|' + _STRING + rb")*+([\[\]{},])", re.DOTALL)
_NESTED = re.compile(rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+([\[\]{}])", re.DOTALL)


def read_elements(stream: BinaryIO, name: str, max_bytes: int) -> Iterator[bytes]:
    """Yield the elements of an array as JSON. The stream starts with its bracket, or with blanks before it.

    Raises:
        UnreadableInput: if an element is longer than `max_bytes`, the array is truncated, or text follows it, such as
            another array.
    """
    buffer, depth, position, count = b"", 0, 0, 0
    while chunk := stream.read(_CHUNK_BYTES):
        buffer += chunk
        start = 0
        while token := (_TOP if depth < 2 else _NESTED).match(buffer, position):
            position = token.end()
            found = token[1]
            if depth == 1 and found in b",]":
                element = buffer[start : position - 1].strip()
                if element or found == b",":
                    count += 1
                    yield element
                if found == b"]":
                    _check_end(buffer[position:], stream, f"{name}: text follows the end of the array")
                    return
                start = position
            elif found in b"[{":
                depth += 1
                if depth == 1:
                    start = position
            else:
                depth -= 1
                if not depth:
                    raise UnreadableInput(f"{name}: the array has an unexpected }} after element {count:,}")
        buffer, position = buffer[start:], position - start
        if len(buffer) > max_bytes:
            raise UnreadableInput(
                f"{name}: element {count + 1:,} of the array is longer than {max_bytes:,} bytes. {_REMEDY}"
            )
    raise UnreadableInput(f"{name}: the array is truncated after element {count:,}")


def _check_end(rest: bytes, stream: BinaryIO, fault: str) -> None:
    while not rest.strip():
        rest = stream.read(_CHUNK_BYTES)
        if not rest:
            return
    raise UnreadableInput(f"{fault}, perhaps another array. {_REMEDY}")
