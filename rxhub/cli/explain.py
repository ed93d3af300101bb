"""`rxhub explain`."""

__all__ = ["command"]


def command() -> None: ...
