"""Sending to everybody, whatever a receiver raises."""

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
    """Call the receivers as `send` does; what one raises is logged, and the next one is called.

    Returns:
        `[(receiver, response or exception), …]`.
    """
    carrier = table.heard(signal)
    if carrier is None:
        return []
    if arguments:
        named[POSITIONAL] = arguments
    return carrier.send_robust(sender, **named)
