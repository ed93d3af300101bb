"""The plugins of one hub: started in order, isolated from each other, torn down in reverse.

All plugins are loaded (which makes their requirements known), then ordered, then started. A plugin that fails in one
step takes no part in the next, and what it has connected is disconnected. No lock is held while a plugin runs. A plugin
is entered in `_entries` before it is loaded, so that it is started once even if another thread, or a plugin, calls
`bootstrap` at the same time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from rxhub.concurrency.fork import ForkSafeLock
from rxhub.errors import PluginError, as_exception
from rxhub.plugins.candidate import Candidate
from rxhub.plugins.order import cycle, ordered
from rxhub.plugins.plugin import Resolved
from rxhub.plugins.report import PluginReport, PluginState, Status
from rxhub.rx.scope import Scope

__all__ = ["Plugins"]

logger = logging.getLogger("rxhub")

_WHY_NOT = {
    Status.WAITING: "is being started just now",
    Status.RUNNING: "failed",  # and was started again just now
    Status.DISABLED: "is disabled",
    Status.FAILED: "failed",
    Status.STOPPED: "was torn down",
}


class _Entry:
    """One plugin of one hub."""

    __slots__ = ("candidate", "error", "name", "owner", "plugin", "status")

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.name = candidate.name
        self.owner = Scope(candidate.name)
        self.plugin: Resolved | None = None
        self.status = Status.WAITING
        self.error: Exception | None = None

    @property
    def requires(self) -> tuple[str, ...]:
        return () if self.plugin is None else self.plugin.requires

    def state(self) -> PluginState:
        found = self.candidate
        origin = found.source, found.distribution, found.version
        return PluginState(self.name, self.status, self.requires, self.error, *origin, len(self.owner))


class Plugins:
    """Starts and tears down the plugins of one hub."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._entries: list[_Entry] = []
        self._started: list[_Entry] = []
        self._ended = False

    def bootstrap(self, hub: Any, candidates: Iterable[Candidate]) -> PluginReport:
        """Start plugins that are not running; those that failed, are disabled or were torn down are tried again."""
        batch = self._enter(candidates)
        try:
            loaded = [entry for entry in batch if entry.status is Status.WAITING and self._load(entry, hub)]
            for entry in self._ordered(loaded):
                self._start(entry, hub)
        finally:
            self._withdraw(batch)
        return self.report()

    def teardown(self, hub: Any, names: Iterable[str] | None = None) -> PluginReport:
        """Tear down these plugins or all, the latest started first, after those that require them.

        Raises:
            PluginError: if a plugin is not running.
        """
        if isinstance(names, str):
            raise TypeError(f"Names of plugins are passed in a list: hub.teardown([{names!r}]).")
        with self._lock:
            leaving = self._started[:] if names is None else self._depending_on(names)
        for entry in reversed(leaving):
            self._stop(entry, hub)
        return self.report()

    def end(self, hub: Any) -> None:
        """The hub is closed: tear down all plugins, also those that are being started just now."""
        self._ended = True
        self.teardown(hub)

    def report(self) -> PluginReport:
        """The states of all plugins."""
        with self._lock:
            running = self._started[:]
            others = [entry for entry in self._entries if entry not in running]
        return PluginReport([entry.state() for entry in (*running, *others)])

    def _enter(self, candidates: Iterable[Candidate]) -> list[_Entry]:
        batch: list[_Entry] = []
        with self._lock:
            for candidate in candidates:
                known = next((entry for entry in self._entries if entry.candidate.key == candidate.key), None)
                if known is not None:
                    if known.status in (Status.RUNNING, Status.WAITING):
                        continue
                    self._entries.remove(known)
                entry = _Entry(candidate)
                rival = next((e for e in self._entries if e.name == entry.name and e.status is not Status.FAILED), None)
                if rival is not None:
                    entry.status, entry.error = Status.FAILED, _namesake(entry, rival)
                self._entries.append(entry)
                batch.append(entry)
        return batch

    def _withdraw(self, batch: Sequence[_Entry]) -> None:
        """Remove those that were not started because of Ctrl-C."""
        with self._lock:
            for entry in batch:
                if entry.status is Status.WAITING:
                    entry.owner.close()
                    self._entries.remove(entry)

    def _load(self, entry: _Entry, hub: Any) -> bool:
        def load() -> None:
            entry.plugin = Resolved(entry.name, entry.candidate.load())
            if not entry.plugin.enabled(hub):
                entry.status = Status.DISABLED
                entry.owner.close()

        return self._attempt(entry, load) and entry.status is Status.WAITING

    def _ordered(self, loaded: Sequence[_Entry]) -> list[_Entry]:
        requires = {entry.name: entry.requires for entry in loaded}
        entries = {entry.name: entry for entry in loaded}
        order, rest = ordered(requires)
        for name in rest:
            ring = cycle(name, {name: requires[name] for name in rest})
            fault = "requires plugins that require each other"
            if name in ring:
                place, fault = ring.index(name), "requires itself"
                ring = ring[place:] + ring[:place]
            self._fail(entries[name], PluginError(f"{fault}: {' → '.join([*ring, ring[0]])}"))
        return [entries[name] for name in order]

    def _start(self, entry: _Entry, hub: Any) -> None:
        lacking = [f"{name}, which {self._why_not(name)}" for name in entry.requires if not self._runs(name)]
        if lacking:
            self._fail(entry, PluginError(f"requires {'; and '.join(lacking)}"))
            return

        if self._attempt(entry, lambda: cast("Resolved", entry.plugin).bootstrap(hub)):
            with self._lock:
                entry.status = Status.RUNNING
                self._started.append(entry)
            if self._ended:
                self._stop(entry, hub)

    def _attempt(self, entry: _Entry, step: Callable[[], None]) -> bool:
        """Run one step in the plugin's scope; if it fails, close the scope and return False."""
        try:
            with entry.owner.registering():
                step()
            return True
        except KeyboardInterrupt:
            raise
        except BaseException as raised:  # noqa: BLE001  # a module that is a script ends the interpreter on its import
            self._fail(entry, as_exception(raised))
            return False

    def _fail(self, entry: _Entry, error: Exception) -> None:
        entry.owner.close()
        entry.status, entry.error = Status.FAILED, error
        told = None if isinstance(error, PluginError) else error
        logger.error("Plugin %s could not be started: %s", entry.name, entry.state().reason, exc_info=told)

    def _runs(self, name: str) -> bool:
        return any(entry.name == name for entry in self._started)

    def _why_not(self, name: str) -> str:
        """The state of a requirement that is not running."""
        with self._lock:
            statuses = [entry.status for entry in self._entries if entry.name == name]
        return _WHY_NOT[statuses[0]] if statuses else "is not installed"

    def _depending_on(self, names: Iterable[str]) -> list[_Entry]:
        """The plugins with these names and those that require them, in the order in which they were started."""
        gone = set(names)
        for name in gone:
            if not self._runs(name):
                known = ", ".join(entry.name for entry in self._started) or "none"
                raise PluginError(f"No plugin {name} is running, so none can be torn down. Running: {known}.")
        for entry in self._started:
            # A plugin is started after those that it requires, so one pass finds all.
            if gone.intersection(entry.requires):
                gone.add(entry.name)
        return [entry for entry in self._started if entry.name in gone]

    def _stop(self, entry: _Entry, hub: Any) -> None:
        with self._lock:
            if entry not in self._started:
                return  # another thread was faster
            self._started.remove(entry)
            entry.status = Status.STOPPED
        try:
            with entry.owner.registering():
                cast("Resolved", entry.plugin).teardown(hub)
        except KeyboardInterrupt:
            raise
        except BaseException as raised:  # noqa: BLE001  # as when it is started
            entry.error = error = as_exception(raised)
            logger.error("The teardown of plugin %s failed: %s", entry.name, error, exc_info=error)
        finally:
            entry.owner.close()


def _namesake(entry: _Entry, rival: _Entry) -> PluginError:
    found, other = entry.candidate, rival.candidate
    return PluginError(
        f"has the name of another plugin: {found.source} ({found.distribution or 'given'}) and "
        f"{other.source} ({other.distribution or 'given'}). Rename one of them."
    )
