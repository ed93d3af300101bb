"""`_repr_mimebundle_`, which notebooks call to show an object.

The renderers are in `rxhub.display`, above the classes that they render, and register themselves with `render`. This
module loads them by name when a notebook asks for the first time: a plug-in point rather than an import, so that lower
layers use no name of `rxhub.display`, and a program outside a notebook never loads it.
"""

from __future__ import annotations

from functools import singledispatch
from importlib import import_module
from typing import Any

__all__ = ["Displayable", "render"]

_RENDERERS = "rxhub.display"


@singledispatch
def render(value: object) -> Any:
    """The page of an object; `rxhub.display` registers a function for each class."""
    raise TypeError(f"No renderer is registered for {type(value).__name__}.")


class Displayable:
    """Mixin for classes that notebooks show by the renderers of `rxhub.display`."""

    __slots__ = ()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        import_module(_RENDERERS)
        return render(self).bundle()
