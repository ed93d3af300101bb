"""Timing beside a peer: many short rounds, ours and the peer's in turn, medians of both.

On a busy machine neither side's own time means much, but a disturbance that lasts longer than a
round slows both. So the ratio is taken round by round, and the median of those ratios is what a
goal is held against; it may differ a little from the quotient of the two medians that stand beside it.

    ours = Loop("on_next(1)", on_next=fast.on_next)
    peer = Loop("on_next(1)", on_next=slow.on_next)
    row = compare("on_next, 1 observer", ours, peer, faster(5), peer_name="reactivex")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from timeit import Timer
from typing import Any

__all__ = [
    "Goal",
    "Loop",
    "Row",
    "Sampler",
    "at_most",
    "bytes_within",
    "compare",
    "faster",
    "interleave",
    "table",
    "within",
]

Sampler = Callable[[], float]
"""Measures one short round and returns the nanoseconds that one item took in it."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a row is held to. `limit` is the largest ratio (or, if `absolute`, number of ns) that is still good."""

    text: str
    limit: float
    absolute: bool = False


def at_most(times: float) -> Goal:
    """We may take so many times as long as the peer."""
    return Goal(f"≤ {times:g} × its time", times)


def faster(times: float) -> Goal:
    """We must be so many times as fast as the peer."""
    return Goal(f"≥ {times:g} × faster", 1 / times)


def within(nanoseconds: float) -> Goal:
    """We must take no longer than this, whatever a peer does."""
    return Goal(f"≤ {duration(nanoseconds)}", nanoseconds, absolute=True)


def bytes_within(count: int) -> Goal:
    """We must take no more memory than this."""
    return Goal(f"≤ {count:,} B", count, absolute=True)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        what: what was timed.
        ours_ns: our median time, nanoseconds an item.
        peer_ns: the peer's; None if there is no peer.
        peer: who it is.
        ratio: ours / peer, the median over the rounds; None if there is no peer.
        goal: what the row is held to; None if it only informs.
        unit: "ns", or "B" if the row tells of memory: then the figures are bytes.
    """

    what: str
    ours_ns: float
    peer_ns: float | None = None
    peer: str = ""
    ratio: float | None = None
    goal: Goal | None = None
    unit: str = "ns"

    @property
    def ok(self) -> bool | None:
        """Whether the goal is reached; None if there is none."""
        if self.goal is None:
            return None
        if self.goal.absolute:
            return self.ours_ns <= self.goal.limit
        if self.ratio is None:
            raise ValueError(f"{self.what!r} has the goal {self.goal.text!r} but no peer: use within(nanoseconds).")
        return self.ratio <= self.goal.limit


class Loop:
    """A statement timed in a loop that `timeit` generates, so that no call stands around the measured one.

    Args:
        statement: what is timed; the names in it are looked up in `names` and cost a local look-up each.
        per: how many items one run of the statement handles; times are given per item.
        setup: run before each round, outside the measured time.
        names: what the statement and the setup may use.
    """

    def __init__(self, statement: str, *, per: int = 1, setup: str = "pass", **names: Any) -> None:
        # Globals would cost a dictionary look-up in every run: bind what the statement uses as locals.
        bound = "; ".join(f"{name} = _given[{name!r}]" for name in names) or "pass"
        self._timer = Timer(statement, f"{bound}\n{setup}", globals={"_given": names})
        self._per = per
        self._number = 0

    def __call__(self, round_seconds: float = 0.004) -> float:
        """Nanoseconds an item took in a round of about `round_seconds`; gc is off meanwhile."""
        if not self._number:
            self._number = self._calibrate(round_seconds)
        return self._timer.timeit(self._number) * 1e9 / self._number / self._per

    def _calibrate(self, round_seconds: float) -> int:
        number = 1
        while (taken := self._timer.timeit(number)) < round_seconds / 4:
            number *= 4
        return max(1, round(number * round_seconds / taken))


def interleave(samplers: Sequence[Sampler], rounds: int = 50) -> list[tuple[float, ...]]:
    """One tuple of times (ns an item, in the order of `samplers`) a round; the first to go changes each round."""
    for sample in samplers:
        sample()
    taken: list[tuple[float, ...]] = []
    for number in range(rounds):
        order = range(len(samplers)) if number % 2 else reversed(range(len(samplers)))
        times = {which: samplers[which]() for which in order}
        taken.append(tuple(times[which] for which in range(len(samplers))))
    return taken


def compare(
    what: str, ours: Sampler, peer: Sampler, goal: Goal | None = None, *, peer_name: str, rounds: int = 50
) -> Row:
    """Time both in turn; return the row, its ratio being the median of the rounds' ratios."""
    taken = interleave((ours, peer), rounds)
    return Row(
        what,
        ours_ns=median(mine for mine, _ in taken),
        peer_ns=median(its for _, its in taken),
        peer=peer_name,
        ratio=median(mine / its for mine, its in taken),
        goal=goal,
    )


def duration(nanoseconds: float) -> str:
    """A time for people: three digits and ns, µs, ms or s."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return (
                f"{nanoseconds / size:.3g} {unit}" if nanoseconds < 999 * size else f"{nanoseconds / size:.0f} {unit}"
            )
    return f"{nanoseconds:.3g} ns"


def table(rows: Sequence[Row]) -> str:
    """The rows as a table of aligned columns."""
    head = ("", "ours", "peer", "", "ratio", "goal", "")
    cells = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            # Figures stand right, words left.
            cell.rjust(width) if column in (1, 2) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.what,
        _figure(row.ours_ns, row.unit),
        "" if row.peer_ns is None else _figure(row.peer_ns, row.unit),
        row.peer,
        "" if row.ratio is None else _ratio(row.ratio, row.goal),
        "" if row.goal is None else row.goal.text,
        {True: "reached", False: "MISSED", None: ""}[row.ok],
    )


def _figure(value: float, unit: str) -> str:
    return f"{value:,.0f} B" if unit == "B" else duration(value)


def _ratio(ratio: float, goal: Goal | None) -> str:
    """In the words of the goal, so that the eye compares like with like."""
    wants_faster = goal is not None and not goal.absolute and goal.limit < 1
    return f"{1 / ratio:.3g} × faster" if wants_faster or (goal is None and ratio < 1) else f"{ratio:.3g} × its time"
