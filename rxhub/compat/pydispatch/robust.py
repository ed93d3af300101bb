"""Send to all receivers, even if some raise."""

from __future__ import annotations

from typing import Any

from rxhub.compat.pydispatch.connection import POSITIONAL
from rxhub.compat.pydispatch.connections import table
from rxhub.compat.pydispatch.dispatcher import Anonymous
from rxhub.compat.pydispatch.dispatcher import Any as Anything

__all__ = ["sendRobust"]


def sendRobust(  # noqa: N802 - PyDispatcher's name
    signal: Any = Anything, sender: Any = Anonymous, *arguments: Any, **named: Any
) -> list[tuple[Any, Any]]:
    """Call the receivers as `send` does; log exceptions, and return them as responses."""
    if arguments:
        named[POSITIONAL] = arguments
    key_signal = table.signal_with_receivers(signal)
    return [] if key_signal is None else key_signal.send_robust(sender, **named)
