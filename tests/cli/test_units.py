"""Times, spans and sizes as people write them at a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from rxhub.cli.units import parse_duration, parse_size, parse_time


@pytest.fixture
def in_oslo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Oslo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("2h", 7_200), ("1.5h", 5_400), ("3d", 259_200), ("1d12h", 129_600), ("2w", 1_209_600), ("0s", 0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text, "--max-age") == parse_time(text, "--since") == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01T12:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01 12:00:00.5+02:00", datetime(2026, 3, 1, 10, 0, 0, 500_000, UTC)),
        ("42", 42),
        ("0", 0),
    ],
)
def test_moments(text: str, expected: object) -> None:
    assert parse_time(text, "--since") == expected


@pytest.mark.parametrize("text", ["2026-03-01T12:00", "2026-03-01"])
def test_a_time_without_an_offset_is_local(text: str, in_oslo: None) -> None:
    found = parse_time(text, "--since")
    assert isinstance(found, datetime) and found.utcoffset() == timedelta(hours=1)


@pytest.mark.parametrize("text", ["", "yesterday", "2 h", "2y", "-2h", "h", "1e5", "²", "12:00", "2026-13-01", "٣h"])
def test_what_is_no_moment_is_told_how_to_write_one(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a valid time. Examples: 2026-03-01T12:00, a duration"):
        parse_time(text, "--since")


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "30 days"])
def test_what_is_no_duration_is_told_how_to_write_one(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a valid duration"):
        parse_duration(text, "--max-age")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("500", 500), ("10K", 10_240), ("1.5G", 3 * 2**29), ("2tb", 2**41), ("5MiB", 5 * 2**20), ("7B", 7)],
)
def test_sizes(text: str, expected: int) -> None:
    assert parse_size(text, "--max-bytes") == expected


@pytest.mark.parametrize("text", ["", "G", "-1", "10X", "10 G", "1e9"])
def test_what_is_no_size_is_told_how_to_write_one(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a valid size"):
        parse_size(text, "--max-bytes")


def test_nothing_is_no_size() -> None:
    with pytest.raises(typer.BadParameter, match="above 0"):
        parse_size("0G", "--max-bytes")


@given(st.text(max_size=20) | st.from_regex(r"[0-9.]{1,400}[smhdw]?", fullmatch=True))
def test_whatever_is_written_is_understood_or_refused(text: str) -> None:
    for read in (parse_duration, parse_time, parse_size):
        try:
            read(text, "--option")
        except typer.BadParameter:
            pass
