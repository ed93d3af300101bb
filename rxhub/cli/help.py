"""Typer commands whose help shows no Python types, and whose usage errors are safe to print.

Typer shows types such as `<bool>` and `<list[Path]>`, and its errors quote arguments unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from rxhub.text.printable import printable

__all__ = ["Commands"]


class _PlainHelp:
    """Show flags without a type and arguments by their names, and escape control characters in errors."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with _printable_errors():
            return cast("Any", super()).make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        with _printable_errors():
            return cast("Any", super()).invoke(ctx)

    def get_params(self, ctx: Any) -> list[Any]:
        params = cast("list[Any]", cast("Any", super()).get_params(ctx))
        for param in params:
            if param.param_type_name == "argument":
                # Typer has no setting for this.
                param.display_type_rich = _nothing
                param.get_usage_pieces = _usage(param)
            elif param.metavar is None and getattr(param, "is_flag", False):
                param.metavar = ""
        return params


class _Command(_PlainHelp, TyperCommand): ...


class _CommandGroup(_PlainHelp, TyperGroup): ...


class Commands(typer.Typer):
    """A group of commands whose help shows no Python types."""

    def __init__(self, **options: Any) -> None:
        super().__init__(cls=_CommandGroup, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        return super().command(name, cls=_Command, **options)


@contextmanager
def _printable_errors() -> Generator[None]:
    try:
        yield
    except Exception as error:
        shown: Any = error
        if hasattr(error, "format_message") and isinstance(getattr(error, "message", None), str):
            shown.message = printable(shown.message, lines=True)
        raise


def _nothing(ctx: Any) -> None:  # noqa: ARG001 - keyword of typer
    return None


def _usage(param: Any) -> Callable[[Any], list[str]]:
    name = param.metavar if param.required else f"[{param.metavar}]"
    return lambda _: [name if param.nargs == 1 else f"{name}..."]
