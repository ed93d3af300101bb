"""Items on bounds come in ranges, as a sorted list would give them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rxhub.expression import sorted_index as ascending
from rxhub.expression.sorted_index import SortedIndex

_numbers = st.one_of(st.integers(-5, 5), st.sampled_from([0.5, 1.0, -0.0, 2**53, 2**53 + 1, float(2**53), 10**400]))
_texts = st.text("ab1", max_size=3)


@given(
    st.one_of(st.just(_numbers), st.just(_texts)).flatmap(
        lambda bounds: st.tuples(st.lists(st.tuples(bounds, st.booleans()), max_size=60), bounds)
    ),
    st.booleans(),
)
def test_ranges_are_those_of_a_sorted_list(
    steps_and_value: tuple[list[tuple[object, bool]], object], inclusive: bool
) -> None:
    steps, value = steps_and_value
    ours: SortedIndex[int] = SortedIndex()
    held: list[tuple[object, int]] = []
    longest, ascending._LONGEST_RUN = ascending._LONGEST_RUN, 3
    try:
        for number, (bound, removes) in enumerate(steps):
            if removes and held:
                ours.remove(*held.pop(number % len(held)))
            else:
                ours.add(bound, number)
                held.append((bound, number))
    finally:
        ascending._LONGEST_RUN = longest
    below = sorted(item for bound, item in held if bound < value or (inclusive and bound == value))
    above = sorted(item for bound, item in held if bound > value or (inclusive and bound == value))
    assert sorted(ours.at_most(value) if inclusive else ours.below(value)) == below
    assert sorted(ours.at_least(value) if inclusive else ours.above(value)) == above
    assert bool(ours) == bool(held)


def test_a_reader_goes_on_with_what_it_took() -> None:
    ours: SortedIndex[str] = SortedIndex()
    ours.add(1, "one")
    before = ours.at_most(5)
    ours.add(2, "two")
    ours.remove(1, "one")
    assert before == ["one"]
    assert ours.at_most(5) == ["two"]
