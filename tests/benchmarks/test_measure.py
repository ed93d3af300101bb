from __future__ import annotations

import pytest

from tests.benchmarks.__main__ import main
from tests.benchmarks.measure import Loop, Row, at_most, compare, duration, faster, interleave, table, within


@pytest.mark.parametrize(
    ("goal", "ratio", "reached"),
    [(at_most(1.25), 1.25, True), (at_most(1.25), 1.26, False), (faster(5), 0.2, True), (faster(5), 0.21, False)],
)
def test_a_goal_holds_for_the_ratio(goal, ratio, reached) -> None:
    assert Row("x", 1, 1, "peer", ratio, goal).ok is reached


def test_a_goal_may_stand_alone_or_be_absent() -> None:
    assert Row("x", 1_999, goal=within(2_000)).ok is True
    assert Row("x", 2_001, goal=within(2_000)).ok is False
    assert Row("x", 1).ok is None
    with pytest.raises(ValueError, match="no peer"):
        _ = Row("x", 1, goal=faster(2)).ok


@pytest.mark.parametrize(
    ("nanoseconds", "shown"), [(0.5, "0.5 ns"), (12.34, "12.3 ns"), (1_234, "1.23 µs"), (2e6, "2 ms"), (3.5e9, "3.5 s")]
)
def test_times_have_three_digits_and_a_unit(nanoseconds: float, shown: str) -> None:
    assert duration(nanoseconds) == shown


def test_samplers_take_turns_and_the_first_to_go_changes() -> None:
    calls: list[str] = []

    def sampler(name: str, time: float):
        return lambda: (calls.append(name), time)[1]

    taken = interleave([sampler("a", 1.0), sampler("b", 2.0)], rounds=2)
    assert taken == [(1.0, 2.0)] * 2
    assert "".join(calls) == "ab" + "ba" + "ab"


def test_a_loop_counts_per_item_and_knows_its_names() -> None:
    row = compare("sorting", Loop("f(x)", per=3, f=sorted, x=[3, 1, 2]), lambda: 1.0, peer_name="peer", rounds=3)
    assert row.ours_ns > 0
    assert row.ratio == pytest.approx(row.ours_ns)


def test_the_table_tells_the_ratio_in_the_words_of_the_goal() -> None:
    text = table([Row("a", 100, 1_000, "peer", 0.1, faster(5)), Row("b", 100, 50, "peer", 2.0, at_most(1.25))])
    assert "10 × faster" in text
    assert "2 × its time" in text
    assert text.index("reached") < text.index("MISSED")


def test_an_unknown_name_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing"]) == 2
    assert "subject" in capsys.readouterr().err
