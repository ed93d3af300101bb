"""Names of senders and callbacks."""

from __future__ import annotations

__all__ = ["callback_name", "sender_name"]


def sender_name(sender: object) -> str | None:
    """The name of a sender in subscriptions.

    Returns:
        A string itself, the qualified name of a class or function, or the name of a module; for another object the
        qualified name of its class; None for no sender.
    """
    if sender is None or isinstance(sender, str):
        return sender
    for attribute in ("__qualname__", "__name__"):
        name = getattr(sender, attribute, None)
        if isinstance(name, str):
            return name
    return type(sender).__qualname__


def callback_name(callback: object) -> str:
    """The module and qualified name of a callback (or of the one that it wraps), or else its class."""
    callback = getattr(callback, "__wrapped__", callback)
    name = getattr(callback, "__qualname__", None)
    if not isinstance(name, str):
        return f"{type(callback).__name__} object"
    module = getattr(callback, "__module__", None)
    return f"{module}.{name}" if isinstance(module, str) and module != "__main__" else name
