"""How people and subscriptions call what has no name of its own: senders and callbacks."""

from __future__ import annotations

__all__ = ["callback_name", "sender_name"]


def sender_name(sender: object) -> str | None:
    """How a subscription names a sender.

    Returns:
        A text's own self; the qualified name of a class or function, the name of a module; of any other object
        the qualified name of its class; None for nobody.
    """
    if sender is None or isinstance(sender, str):
        return sender
    for attribute in ("__qualname__", "__name__"):
        name = getattr(sender, attribute, None)
        if isinstance(name, str):
            return name
    return type(sender).__qualname__


def callback_name(callback: object) -> str:
    """How people know a callback: module and qualified name, or its class; if it stands for another, that one's."""
    callback = getattr(callback, "__wrapped__", callback)
    name = getattr(callback, "__qualname__", None)
    if not isinstance(name, str):
        return f"{type(callback).__name__} object"
    module = getattr(callback, "__module__", None)
    return f"{module}.{name}" if isinstance(module, str) and module != "__main__" else name
