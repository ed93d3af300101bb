"""Acknowledgements are sent in the order of the packets."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

from hypothesis import given
from hypothesis import strategies as st

from rxhub.server.ack_queue import AckQueue


@given(
    st.lists(st.sampled_from(["known", "stored", "refused"]), max_size=12).flatmap(
        lambda kinds: st.tuples(st.just(kinds), st.permutations(range(len(kinds))))
    )
)
def test_they_come_in_order_as_soon_as_they_can(case: tuple[list[str], list[int]]) -> None:
    kinds, order = case
    given: list[tuple[int | None, str]] = []
    queue = AckQueue(lambda number, error: given.append((number, "" if error is None else str(error))))
    outcomes: dict[int, Future[None]] = {}
    for number, kind in enumerate(kinds):
        if kind == "known":
            queue.add(number)
        else:
            outcomes[number] = Future()
            queue.add_pending(number, outcomes[number])
    expected = [(number, "no" if kind == "refused" else "") for number, kind in enumerate(kinds)]
    for number in order:
        if number in outcomes:
            outcome = outcomes.pop(number)
            if kinds[number] == "refused":
                outcome.set_exception(ValueError("no"))
            else:
                outcome.set_result(None)
        known = min(outcomes, default=len(kinds))
        assert given == expected[:known]
        assert len(queue) == len(kinds) - known


def test_who_waits_for_them_goes_on_when_few_enough_are_owed_or_after_a_while() -> None:
    async def wait() -> None:
        queue = AckQueue(lambda number, error: None)
        outcomes: list[Future[None]] = [Future() for _ in range(3)]
        for number, outcome in enumerate(outcomes):
            queue.add_pending(number, outcome)
        await queue.wait(3, 10)
        await queue.wait(1, 0.01)
        assert len(queue) == 3
        waiting = asyncio.get_running_loop().create_task(queue.wait(1, 20))
        await asyncio.sleep(0)
        outcomes[0].set_result(None)
        await asyncio.sleep(0)
        assert not waiting.done()
        outcomes[1].set_result(None)
        await waiting
        assert len(queue) == 1

    asyncio.run(wait())
