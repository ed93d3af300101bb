"""Replacements for other libraries. Each package has the name of the library that it replaces."""

__all__: list[str] = []
