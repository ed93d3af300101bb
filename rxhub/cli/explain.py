"""`rxhub explain`: show the meaning of a subscription, and why an event does or does not match it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.inputs import input_name, open_input
from rxhub.cli.options import DialectOption, Plain, Subscription, argument, option
from rxhub.cli.output import print_error, print_text
from rxhub.exploration.compression import decompressed
from rxhub.exploration.jsonl import JsonLine, read_document, read_lines
from rxhub.expression import Dialect, explain, parse
from rxhub.expression.near_miss import misspelling_warning
from rxhub.expression.pretty import outline
from rxhub.text.layout import TreeLine, format_tree

__all__ = ["command"]


@exits_with_status
def command(
    subscription: Subscription,
    event: Annotated[
        Path | None, argument("EVENT", "File with one event, or with one JSON object per line. - is stdin.")
    ] = None,
    line: Annotated[int | None, option("N", "Use the event on line N.", "--line", "-n", min=1)] = None,
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
        _print_tree(outline(tree), plain)
        if warning := misspelling_warning(tree):
            print_error(warning)
        return Status.MATCHED
    name = input_name(event)
    with open_input(event) as stream, decompressed(stream, name) as text:
        found = read_document(text) if line is None else _read_line(text, line)
    if found.candidate is None:
        print_error(f"{name}:{found.number}: {found.fault}")
        return Status.ERROR
    explanation = explain(tree, found.candidate)
    print_text(f"{name}:{found.number}: {'matches' if explanation.matched else 'does not match'}")
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


def _print_tree(lines: Sequence[TreeLine], plain: bool) -> None:
    if plain:
        print_text("\n".join(format_tree(lines)))
        return
    branches: list[Tree] = []
    for line in lines:
        label = Text(f"{line.text}  {line.detail}".rstrip())
        del branches[line.level :]
        branches.append(branches[-1].add(label) if branches else Tree(label))
    Console().print(branches[0])
