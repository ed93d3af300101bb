"""Publish changes to users, groups and roles in Django's database as events of a hub.

One `Publication` publishes each topic of a hub. The same call again returns the existing one; a call that shares some
models takes over their topics.
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
    """Publishes the signals of models to a hub until the hub is closed."""

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
        # A closed hub completes the subscription at once.
        self._watching = SingleAssignmentDisposable()
        self._watching.disposable = hub.state.subscribe(on_completed=self.dispose)

    def cede(self, topics: Container[str]) -> None:
        """Stop publishing these topics; the signals continue."""
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

        def publish_event() -> None:  # not a partial: Django logs the name of a failed function
            with suppress(HubClosed):  # about to dispose of this
                self.hub.publish(event)

        if self._transaction is None:
            publish_event()
        else:
            self._transaction.on_commit(publish_event, using=data["using"], robust=True)


_publications: dict[tuple[object, ...], Publication] = {}  # by their arguments


def publish_database_signals(
    hub: EventHub, *models: Any, prefix: str = "django", on_commit: bool = True
) -> DatabaseSignals:
    """Publish the signals of `database_signals`: the name is the topic, the arguments are the data.

    Publishing ends with the hub. The same call again changes nothing. Another call for the same hub takes over the
    models that it names, so no event is published twice. Errors of publishing, such as a full inbox, are logged and do
    not break the save.

    Args:
        hub: the hub.
        models: as in `database_signals`.
        prefix: the prefix of the topics.
        on_commit: publish when the transaction commits, in the order of sending; changes that are rolled back are never
            published. With False, publish at once.

    Returns:
        The signals; `dispose()` ends the publishing too. Until then, the same call returns the same signals.

    Raises:
        HubClosed: if the hub was closed; other errors as of `database_signals`.
    """
    chosen = models_of(models)
    key = (hub, prefix, on_commit, frozenset(chosen))
    if (known := _publications.get(key)) is not None:
        return known
    made = Publication(hub, chosen, prefix, on_commit)
    if made.is_over:
        raise HubClosed("The hub is closed and cannot publish changes. Create a new hub.")
    # Atomic, since two threads can get here.
    if (known := _publications.setdefault(key, made)) is not made:
        made.dispose()
        return known
    topics = {signal.name for signal in made.values()}
    for other in list(_publications.values()):
        if other is not made and other.hub is hub:
            other.cede(topics)
    return made
