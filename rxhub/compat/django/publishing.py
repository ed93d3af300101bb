"""What happens to users, groups and roles in Django's database, as events of a hub, for as long as there is the hub.

Each topic of a hub is published by one `Publication`: the same call again finds the one that is there, and another call
that shares some of its models takes their topics over.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from contextlib import suppress
from importlib import import_module
from typing import Any

from reactivex.disposable import SingleAssignmentDisposable

from rxhub.compat.django.database import DatabaseSignals, models_of
from rxhub.errors import HubClosed
from rxhub.event import Event
from rxhub.hub import EventHub
from rxhub.rx.scope import current_scope
from rxhub.signals.signal import Signal

__all__ = ["publish_database_signals"]


class Publication(DatabaseSignals):
    """Signals of some models that a hub is told of; disposed of when the hub has ended.

    Args:
        hub: where to.
        models: the models.
        prefix: what the topics begin with.
        on_commit: whether to wait for the transaction.

    Attributes:
        hub: as given.
        is_over: whether it was disposed of.
    """

    def __init__(self, hub: EventHub, models: Iterable[Any], prefix: str, on_commit: bool) -> None:
        super().__init__(models, prefix)
        self.hub = hub
        self.is_over = False
        self._transaction = import_module("django.db.transaction") if on_commit else None
        for signal in self.values():
            signal.connect(self._publish, weak=False)
        self._owner = current_scope()
        if self._owner is not None:
            self._owner.add(self.dispose)
        # A hub that was closed already says so at once.
        self._watching = SingleAssignmentDisposable()
        self._watching.disposable = hub.state.subscribe(on_completed=self.dispose)

    def cede(self, topics: Container[str]) -> None:
        """Leave these topics to another publication; the signals go on."""
        for signal in self.values():
            if signal.name in topics:
                signal.disconnect(self._publish)

    def dispose(self) -> None:
        self.is_over = True
        super().dispose()
        self.cede({signal.name for signal in self.values()})
        self._watching.dispose()
        if self._owner is not None:
            self._owner.discard(self.dispose)
        for key, publication in list(_publications.items()):
            if publication is self:
                _publications.pop(key, None)

    def _publish(self, signal: Signal[...], sender: object, **data: Any) -> None:
        event = Event(signal.name, data=data)

        def publish_event() -> None:  # no partial: Django logs the name of one that fails
            with suppress(HubClosed):  # on its way to dispose of this
                self.hub.publish(event)

        if self._transaction is None:
            publish_event()
        else:
            self._transaction.on_commit(publish_event, using=data["using"], robust=True)


_publications: dict[tuple[object, ...], Publication] = {}
"""What there is, by the arguments it was made with."""


def publish_database_signals(
    hub: EventHub, *models: Any, prefix: str = "django", on_commit: bool = True
) -> DatabaseSignals:
    """Publish what `database_signals` tells: the topic is the signal's name, the data what it was sent with.

    It ends with the hub. The same call once more changes nothing. One for the same hub that names some of the same
    models takes these over, so that no event is published twice. Whatever publishing raises, such as a full inbox, is
    logged and breaks no save.

    Args:
        hub: where to.
        models: as of `database_signals`.
        prefix: what the topics begin with.
        on_commit: publish when the transaction is committed, in the order of sending; what is rolled back is never
            published. With False each is published at once, before it is known what becomes of it.

    Returns:
        The signals; `dispose()` ends the publishing too. The same call gives the same signals until then.

    Raises:
        HubClosed: if the hub was closed.
        django.core.exceptions.AppRegistryNotReady: before `django.setup()`; `AppConfig.ready` is the place to call it.
        LookupError: if there is no model of such a name.
    """
    chosen = models_of(models)
    key = (hub, prefix, on_commit, frozenset(chosen))
    if (known := _publications.get(key)) is not None:
        return known
    made = Publication(hub, chosen, prefix, on_commit)
    if made.is_over:
        raise HubClosed("The hub was closed, and can be told of no changes; make a new one.")
    # A single operation, since two threads may be here.
    if (known := _publications.setdefault(key, made)) is not made:
        made.dispose()
        return known
    topics = {signal.name for signal in made.values()}
    for other in list(_publications.values()):
        if other is not made and other.hub is hub:
            other.cede(topics)
    return made
