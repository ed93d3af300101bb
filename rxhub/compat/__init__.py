"""Faces of other libraries over rxhub: what a program imports changes, the program does not."""

__all__: list[str] = []
