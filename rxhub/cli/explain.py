"""`rxhub explain`: show the meaning of a subscription, and why an event does or does not match it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from rxhub.cli.compressed import UnsupportedFormat, damage_reason, decompress
from rxhub.cli.exit_status import Status, exits_with_status, input_name, open_input
from rxhub.cli.jsonl import JsonLine, read_document, read_lines
from rxhub.cli.options import DialectOption, Plain, Subscription
from rxhub.cli.output import print_error, print_text
from rxhub.expression import And, Dialect, Everything, Expression, Not, Or, explain, parse
from rxhub.expression.near_miss import misspelling_warning
from rxhub.text.printable import printable

__all__ = ["command"]


@exits_with_status
def command(
    subscription: Subscription,
    event: Annotated[
        Path | None,
        typer.Argument(metavar="EVENT", help="File with one event, or with one JSON object per line. - is stdin."),
    ] = None,
    line: Annotated[
        int | None, typer.Option("--line", "-n", min=1, metavar="N", help="Use the event on line N.")
    ] = None,
    plain: Plain = False,
    dialect: DialectOption = Dialect.RXHUB,
) -> Status:
    """Print a subscription as a tree. With an event, print the value and the result of each condition.

    The event is the first line of the file, line N with --line, or the whole file if it contains one formatted event.

    Exit status: 0 if the event matches, 1 if it does not, 2 after an error.
    """
    tree = parse(subscription, dialect)
    plain = plain or not sys.stdout.isatty()
    if event is None:
        if line is not None:
            raise typer.BadParameter("Specify the file as the argument EVENT.", param_hint="--line")
        _print_tree(tree, plain)
        if warning := misspelling_warning(tree):
            print_error(warning)
        return Status.MATCHED
    with open_input(event) as stream:
        try:
            opened = decompress(stream)
            found = read_document(opened) if line is None else _read_line(opened, line)
        except UnsupportedFormat as error:
            print_error(f"{input_name(event)} {error}")
            return Status.ERROR
        except Exception as error:
            if not (reason := damage_reason(error)):
                raise
            print_error(f"{input_name(event)}: {reason}")
            return Status.ERROR
    if found.candidate is None:
        print_error(f"{input_name(event)}:{found.number}: {found.fault}")
        return Status.ERROR
    explanation = explain(tree, found.candidate)
    verdict = "matches" if explanation.matched else "does not match"
    print_text(f"{input_name(event)}:{found.number}: {verdict}")
    if plain:
        print_text(str(explanation))
    else:
        Console().print(explanation)
    return Status.MATCHED if explanation.matched else Status.NOT_MATCHED


def _read_line(stream: BinaryIO, number: int) -> JsonLine:
    for line in read_lines(stream):
        if line.number >= number:
            return line if line.number == number else JsonLine(number, b"", None, "the line is blank")
    return JsonLine(number, b"", None, "the file has no such line")


def _print_tree(tree: Expression, plain: bool) -> None:
    root = Tree("")
    pending = [(0, tree, root)]
    while pending:
        level, node, parent = pending.pop()
        label, children = _label(node)
        if plain:
            print_text(f"{'  ' * level}{label}")
        branch = parent.add(Text(label, style="bold" if children else ""))
        pending += [(level + 1, child, branch) for child in reversed(children)]
    if not plain:
        Console().print(root.children[0])


def _label(node: Expression) -> tuple[str, tuple[Expression, ...]]:
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
