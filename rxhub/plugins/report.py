"""The plugins of a hub and their states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import overload

from rxhub.errors import PluginError
from rxhub.text.layout import format_table
from rxhub.text.printable import printable

__all__ = ["PluginReport", "PluginState", "Status"]


class Status(Enum):
    """The state of a plugin."""

    WAITING = "waiting"
    """It will be started, or is being started just now."""
    RUNNING = "running"
    DISABLED = "disabled"
    """Its `enabled` is false."""
    FAILED = "failed"
    """It could not be started. Nothing of it is connected."""
    STOPPED = "stopped"
    """It was torn down."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class PluginState:
    """One plugin at one moment.

    Attributes:
        name: by which others require it.
        status: its state.
        requires: the names of plugins that must be running before it.
        error: why it failed, or what its teardown raised.
        source: as `package.module:Name`.
        distribution: the name of the distribution that installed it; empty if it came from the program.
        version: of the distribution.
        connections: the number of its subscribers and receivers.
    """

    name: str
    status: Status
    requires: tuple[str, ...] = ()
    error: Exception | None = None
    source: str = ""
    distribution: str = ""
    version: str = ""
    connections: int = 0

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.status is Status.RUNNING

    @property
    def reason(self) -> str:
        """Why it failed, in one line; empty if it did not."""
        if self.error is None:
            return ""
        # The type adds nothing to our own message.
        kind = "" if isinstance(self.error, PluginError) else f"{type(self.error).__name__}: "
        return f"{kind}{self.error}" if str(self.error) else type(self.error).__name__


class PluginReport(Sequence[PluginState]):
    """The plugins of a hub: those that run, in the order in which they were started, then the others.

    `str` returns a table. Plugins can be accessed by name: `report["colour"].status`.
    """

    HEADINGS = ("", "plugin", "status", "from", "connections", "requires", "why")

    def __init__(self, plugins: Sequence[PluginState] = ()) -> None:
        self._plugins = tuple(plugins)

    @property
    def running(self) -> list[PluginState]:
        """The running plugins, in the order in which they were started."""
        return [plugin for plugin in self._plugins if plugin.running]

    @property
    def failed(self) -> list[PluginState]:
        """The plugins that could not be started."""
        return [plugin for plugin in self._plugins if plugin.status is Status.FAILED]

    @overload
    def __getitem__(self, index: int | str) -> PluginState: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[PluginState]: ...
    def __getitem__(self, index: int | str | slice) -> PluginState | Sequence[PluginState]:
        if not isinstance(index, str):
            return self._plugins[index]
        if found := next((plugin for plugin in self._plugins if plugin.name == index), None):
            return found
        known = ", ".join(plugin.name for plugin in self._plugins) or "none"
        raise KeyError(f"Plugin {index} does not exist. Known plugins: {known}.")

    def __iter__(self) -> Iterator[PluginState]:
        return iter(self._plugins)

    def __len__(self) -> int:
        return len(self._plugins)

    def rows(self) -> list[tuple[str, ...]]:
        """The rows of a table under `HEADINGS`."""
        return [
            (
                str(number) if each.running else "",
                each.name,
                str(each.status),
                f"{each.distribution} {each.version}".strip() or each.source,
                str(each.connections) if each.running else "",
                ", ".join(each.requires),
                each.reason,
            )
            for number, each in enumerate(self._plugins, start=1)
        ]

    def summary(self) -> str:
        """The number of plugins in each state."""
        number, counts = len(self._plugins), Counter(plugin.status for plugin in self._plugins)
        told = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
        return f"{number} plugin{'s' if number > 1 else ''}: {told}" if number else "no plugins"

    def __str__(self) -> str:
        table = format_table(self.HEADINGS, self.rows()) if self._plugins else []
        return printable("\n".join([self.summary(), *(f"  {line}" for line in table)]), lines=True)

    __repr__ = __str__
