"""The state machine finds the faults of a hub."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from rxhub import Event, EventHub
from rxhub.testing import HubStateMachine, VirtualHub

pytestmark = pytest.mark.filterwarnings("ignore::rxhub.errors.NotHandledWarning")

TestHub = HubStateMachine.TestCase
TestHub.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


class BackToFront(VirtualHub):
    """Inverts priorities."""

    def subscribe(
        self, subscription: str, callback: Any, subscriber: Any = None, priority: float = 100, **more: Any
    ) -> Any:
        return super().subscribe(subscription, callback, subscriber, -priority, **more)


class Unstoppable(VirtualHub):
    """Ignores stop()."""

    def subscribe(self, subscription: str, callback: Any, *more: Any, **named: Any) -> Any:
        def unheard(event: Event) -> Any:
            callback(event)
            event._stopped = False

        return super().subscribe(subscription, unheard, *more, **named)


class Forgetful(VirtualHub):
    """Counts events as handled that were not."""

    def handle(self, event: Event, run: Any) -> None:
        if event.topic != "ftrack.update":
            super().handle(event, run)


@pytest.mark.parametrize("kind", [BackToFront, Unstoppable, Forgetful])
def test_a_broken_hub_is_found_out(kind: type[VirtualHub]) -> None:
    class Machine(HubStateMachine):
        def make_hub(self) -> VirtualHub:
            return kind()

    found = settings(
        max_examples=300,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Machine, settings=found)


def test_a_subclass_sees_each_delivery() -> None:
    seen: list[tuple[str, list[str]]] = []

    class Machine(HubStateMachine):
        def delivered(self, event: Event, names: list[str]) -> None:
            seen.append((event.topic, names))

    run_state_machine_as_test(Machine, settings=settings(max_examples=10, deadline=None, database=None))
    assert any(names for _, names in seen)


def test_a_hub_on_real_time_is_refused() -> None:
    class Machine(HubStateMachine):
        def make_hub(self) -> Any:
            return EventHub()

    with pytest.raises(TypeError, match=r"VirtualHub.*returned <EventHub memory://"):
        Machine()
