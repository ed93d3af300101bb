"""A recorded stream is drawn within bounds, whatever was recorded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rxhub.display.marbles import Lane, marbles, recorded
from tests.display.test_page import elements

times = st.floats(-1e6, 1e6)
lanes = st.builds(
    Lane, st.text(max_size=40), st.lists(st.tuples(times, st.text(max_size=9))), st.none() | times, st.booleans()
)


@given(st.lists(lanes, max_size=20))
def test_any_recording_can_be_drawn(recorded: list[Lane]) -> None:
    bundle = marbles("recorded", recorded).bundle()
    assert elements(bundle["text/html"]) <= {
        *("style", "div", "strong", "span", "svg", "g", "text", "title", "circle", "line", "path")
    }


def test_in_letters_it_reads_as_marbles_do() -> None:
    page = marbles(
        "recorded",
        [Lane("renders", [(0, "a"), (5, "b"), (5, "c")], end=10), Lane("notes", [(2, "long")], end=6, failed=True)],
    )
    assert page.text().splitlines() == [
        "recorded  (10 s, 4 recorded)",
        "  renders  a-----------------------------2-----------------------------|",
        "  notes    ------------o-----------------------#",
        "           0 s                                                   10 s",
    ]


def test_a_long_recording_makes_no_large_drawing() -> None:
    page = marbles("recorded", [Lane("beats", ((n, "beat") for n in range(100_000)))])
    assert len(page.html()) < 30_000
    assert "100000 recorded" in page.text()


def test_of_many_streams_the_first_are_drawn() -> None:
    page = marbles("recorded", [Lane(str(n), [(n, "x")]) for n in range(20)])
    assert page.text().splitlines()[-1] == "  … and 4 more"


def test_an_empty_recording_says_so() -> None:
    assert marbles("recorded", []).text() == "recorded\n  nothing was recorded"


def test_a_recording_has_a_stream_for_each_label_in_the_order_of_coming() -> None:
    page = recorded([(0, "b"), (1, "a"), (2, "b")], "an hour", "min")
    assert [line.split()[0] for line in page.text().splitlines()] == ["an", "b", "a", "0"]
