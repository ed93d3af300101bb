"""`rxhub explain`: what a subscription means, and why an event matches it or does not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from rxhub.cli.compressed import Unreadable, decompressed, why_damaged
from rxhub.cli.exit_status import Status, complain, ending, name_of, open_input
from rxhub.cli.jsonl import Line, document, lines
from rxhub.cli.output import say
from rxhub.expression import And, Dialect, Everything, Expression, Not, Or, explain, parse
from rxhub.expression.near_miss import misspelling_warning
from rxhub.text.printable import printable

__all__ = ["command"]


@ending
def command(
    subscription: Annotated[
        str, typer.Argument(metavar="SUBSCRIPTION", show_default=False, help="What is to be explained.")
    ],
    event: Annotated[
        Path | None,
        typer.Argument(
            metavar="EVENT", show_default=False, help="A file with an event, or with one a line; - is stdin."
        ),
    ] = None,
    line: Annotated[
        int | None,
        typer.Option("--line", "-n", min=1, metavar="N", show_default=False, help="Take the event on line N."),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="No colour and no branches; so it is where stdout is no terminal.")
    ] = False,
    dialect: Annotated[
        Dialect, typer.Option(metavar="rxhub|ftrack", help="What a * means. ftrack: as in ftrack's client.")
    ] = Dialect.RXHUB,
) -> Status:
    """Print a subscription as a tree; with an event, what each condition found in it.

    Without --line the event is the first line of the file, or the whole file if it spreads one event over many lines.

    Ends with 0 if the event matches, with 1 if it does not, and with 2 after an error.
    """
    tree = parse(subscription, dialect)
    plain = plain or not sys.stdout.isatty()
    if event is None:
        if line is not None:
            raise typer.BadParameter("It names a line of a file, but no file was given.", param_hint="--line")
        _print_outline(tree, plain)
        if said := misspelling_warning(tree):
            complain(said)
        return Status.MATCHED
    with open_input(event) as stream:
        try:
            opened = decompressed(stream)
            found = document(opened) if line is None else _numbered(opened, line)
        except Unreadable as error:
            complain(f"{name_of(event)} {error}")
            return Status.ERROR
        except Exception as error:
            if not (why := why_damaged(error)):
                raise
            complain(f"{name_of(event)}: {why}")
            return Status.ERROR
    if found.candidate is None:
        complain(f"{name_of(event)}:{found.number}: {found.fault}")
        return Status.ERROR
    explanation = explain(tree, found.candidate)
    verdict = "matches" if explanation.matched else "does not match"
    say(f"{name_of(event)}:{found.number}: {verdict}")
    if plain:
        say(str(explanation))
    else:
        Console().print(explanation)
    return Status.MATCHED if explanation.matched else Status.NOT_MATCHED


def _numbered(stream: BinaryIO, number: int) -> Line:
    for line in lines(stream):
        if line.number >= number:
            return line if line.number == number else Line(number, b"", None, "the line is blank")
    return Line(number, b"", None, "the file has no such line")


def _print_outline(tree: Expression, plain: bool) -> None:
    """Print what is joined and negated by what."""
    root = Tree("")
    waiting = [(0, tree, root)]
    while waiting:
        level, node, above = waiting.pop()
        words, parts = _outline(node)
        if plain:
            say(f"{'  ' * level}{words}")
        branch = above.add(Text(words, style="bold" if parts else ""))
        waiting += [(level + 1, part, branch) for part in reversed(parts)]
    if not plain:
        Console().print(root.children[0])


def _outline(node: Expression) -> tuple[str, tuple[Expression, ...]]:
    match node:
        case And(children):
            return "all of", children
        case Or(children):
            return "any of", children
        case Not(child):
            return "not", (child,)
        case Everything():
            return "everything", ()
        case _:
            return printable(str(node)), ()
