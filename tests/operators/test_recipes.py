"""The pipelines of the notebook of recipes, on virtual time."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rxhub import Event
from rxhub.testing import Recording

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "recipes.ipynb"


@pytest.fixture(scope="module")
def recipes() -> dict[str, Any]:
    """The names that the notebook defines before its live part."""
    names: dict[str, Any] = {}
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and "await" not in source and "assert" not in source:
            exec(source, names)
    return names


def seconds(played: list[tuple[float, Any]]) -> list[tuple[int, Any]]:
    return [(round(minutes * 60), item) for minutes, item in played]


def recording(*entries: tuple[float, str, str, int]) -> Recording:
    return Recording(
        (time, Event(f"studio.{topic}", data={"shot": shot, "job": job})) for time, topic, shot, job in entries
    )


def test_a_burst_is_reported_once(recipes: dict[str, Any]) -> None:
    failures = [(6.0 * n, "render.failed", "a", n) for n in range(10)]
    again = [(600.0 + 6 * n, "render.failed", "a", n) for n in range(5)]
    assert seconds(recipes["play"](recipes["bursts"], recording(*failures, *again))) == [
        (24, [0, 1, 2, 3, 4]),
        (624, [0, 1, 2, 3, 4]),
    ]


def test_slow_failures_are_no_burst(recipes: dict[str, Any]) -> None:
    failures = recording(*((30.0 * n, "render.failed", "a", n) for n in range(20)))
    assert recipes["play"](recipes["bursts"], failures) == []


def test_each_shot_has_its_reviews(recipes: dict[str, Any]) -> None:
    notes = recording(*((60.0 * n, "review.note", "ab"[n % 2], n) for n in range(6)), (1200, "review.note", "a", 1))
    assert seconds(recipes["play"](recipes["reviews"], notes)) == [(840, ("a", 3)), (900, ("b", 3)), (1800, ("a", 1))]


def test_renders_are_joined_with_the_notes_about_their_shot(recipes: dict[str, Any]) -> None:
    events = recording(
        (0, "review.note", "a", 1),
        (60, "render.finished", "a", 1),
        (90, "review.note", "b", 1),
        (120, "review.note", "a", 1),
        (181, "review.note", "a", 1),
    )
    pair = ("a", "studio.render.finished", "studio.review.note")
    assert seconds(recipes["play"](recipes["noted_renders"], events)) == [(60, pair), (120, pair)]


def test_a_job_that_does_not_end_is_reported(recipes: dict[str, Any]) -> None:
    events = recording(
        (0, "render.started", "a", 1),
        (0, "render.started", "a", 2),
        (0, "render.started", "a", 3),
        (60, "render.failed", "a", 1),
        (60, "render.finished", "a", 2),
        (1860, "render.finished", "a", 3),
    )
    assert seconds(recipes["play"](recipes["lost_jobs"], events)) == [(1800, 3)]


def test_a_job_is_reported_again_after_five_minutes(recipes: dict[str, Any]) -> None:
    events = recording(*((60.0 * n, "render.finished", "a", n % 2) for n in range(10)))
    assert seconds(recipes["play"](recipes["finished_once"], events)) == [(0, 0), (60, 1), (360, 0), (420, 1)]


def test_events_are_counted_by_minute(recipes: dict[str, Any]) -> None:
    events = recording((1, "review.note", "a", 1), (2, "review.note", "a", 1), (130, "render.failed", "a", 1))
    assert seconds(recipes["play"](recipes["counts"], events)) == [
        (60, Counter({"studio.review.note": 2})),
        (180, Counter({"studio.render.failed": 1})),
    ]
