"""The methods of a hub for what lives beside it: signals that are bridged to topics, and plugins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from reactivex import abc

from rxhub.errors import NotUniqueError
from rxhub.hub.parts import Parts
from rxhub.rx.scope import current_scope

if TYPE_CHECKING:
    from rxhub.hub.hub import EventHub
    from rxhub.hub.signal_bridge import SignalBridge
    from rxhub.plugins import PluginReport
    from rxhub.signals.signal import Signal

__all__ = ["Attaching"]


class Attaching(Parts):
    """What lives and ends with a hub."""

    def bridge(
        self, signal: Signal[...], *, topic: str, secrets: Iterable[str] = (), priority: float = 1000
    ) -> abc.DisposableBase:
        """Publish the emissions of a signal as events, and make the events of other hubs its emissions.

        The data of an event are the kwargs, without secrets, and `sender`, the sender's name. What JSON cannot carry
        is replaced by its representation, and a warning says so. An event that another hub published on the topic
        becomes an emission: sent by the class, function or module of that name for which receivers are connected, or
        else by the name itself. Neither goes back where it came from.

        Args:
            signal: one of this process.
            topic: of the events.
            secrets: names of kwargs, and of what is in them, that are not published, beside those in
                `rxhub.redaction.secrets`.
            priority: its place among the receivers and among the subscribers: late, so that what is stopped or vetoed
                before is not passed on.

        Returns:
            What ends it when disposed; also usable in `with`.

        Raises:
            NotUniqueError: if this hub has a bridge between the two.
            ValueError: if the topic is empty, or has a wildcard or a quote in it.
            TypeError: if the signal is no rxhub Signal.
            HubClosed: if the hub was closed.
        """
        from rxhub.hub.signal_bridge import SignalBridge
        from rxhub.redaction import Secrets

        self._publisher.check_open()
        if (id(signal), topic) in self._bridges:
            raise NotUniqueError(f"This hub has a bridge between {signal.name} and {topic}. Dispose of it first.")
        bridge = SignalBridge(cast("EventHub", self), signal, topic, Secrets(secrets), priority, self._parted)
        self._bridges[id(signal), topic] = bridge
        owner = current_scope()
        if owner is not None:
            bridge.owner = owner
            owner.add(bridge.dispose)
        return bridge

    def bootstrap(self, plugins: Iterable[object] | None = None) -> PluginReport:
        """Start plugins, in order of what they require, each apart from the others.

        Those that run already are left alone; those that failed, are disabled or were torn down are tried again.

        Args:
            plugins: modules, classes, instances or functions, as `rxhub.plugins.Plugin` says. None is every
                plugin that an installed distribution names in the entry-point group `rxhub.plugins`.

        Returns:
            What became of them: which run, in which order, and why the others do not. Failures are logged too; none
            is raised.

        Raises:
            TypeError: if the plugins are not in a list.
            HubClosed: if the hub was closed.
        """
        from rxhub.plugins import Plugins, given, installed

        self._publisher.check_open()
        candidates = installed() if plugins is None else given(plugins)
        with self._lock:
            own = self._plugins = self._plugins or Plugins()
        return own.bootstrap(cast("EventHub", self), candidates)

    def teardown(self, plugins: Iterable[str] | None = None) -> PluginReport:
        """Tear plugins down, the latest started first: call their `teardown`, and undo what they connected.

        `close()` does it for all of them.

        Args:
            plugins: names; those that require them are torn down before them. None is all.

        Returns:
            What became of all plugins of this hub.

        Raises:
            PluginError: if no plugin of such a name is running.
        """
        from rxhub.plugins import Plugins

        with self._lock:
            own = self._plugins = self._plugins or Plugins()
        return own.teardown(cast("EventHub", self), plugins)

    def _parted(self, bridge: SignalBridge) -> None:
        self._bridges.pop((id(bridge.signal), bridge.topic), None)
