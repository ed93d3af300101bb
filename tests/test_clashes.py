"""No private attribute of ours has the name of a private attribute of the standard library's class that we derive from.

`threading.Thread` has had a `_handle` since Python 3.13, and a subclass of ours had a method of this name, so that no
thread started. Each version of Python may add such names: this looks at those of the version that runs the tests.
"""

from __future__ import annotations

import ast
import inspect
import sys
import threading
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType

import rxhub


def test_private_attributes_do_not_clash_with_those_of_the_standard_library() -> None:
    clashes = {
        f"{ours.__module__}.{ours.__qualname__}.{name} is one of {base.__module__}.{base.__qualname__}"
        for ours in _classes_of_ours()
        for base in ours.__mro__
        if base is not object and base.__module__.partition(".")[0] in sys.stdlib_module_names
        for name in _written(ours) & (_written(base) | {*dir(base)})
        if name.startswith("_") and not name.startswith("__")
    }
    assert clashes == set()


def test_attributes_that_methods_set_are_known() -> None:
    assert {"_target", "_started", "_bootstrap"} <= _written(threading.Thread)


def _classes_of_ours() -> Iterator[type]:
    for found in walk_packages(rxhub.__path__, "rxhub."):
        if not found.name.endswith("__main__"):
            module = import_module(found.name)
            for each in vars(module).values():
                if isinstance(each, type) and each.__module__ == module.__name__:
                    yield each


@cache
def _written(kind: type) -> frozenset[str]:
    """The names that stand in the body of a class, and those that its methods set; none if it is written in C."""
    module = sys.modules.get(kind.__module__)
    body = None if module is None else _definitions(module).get(kind.__qualname__)
    if body is None:
        return frozenset()
    names: set[str] = set()
    for node in ast.walk(body):
        match node:
            case ast.Attribute(ast.Name("self"), name, ast.Store()):
                names.add(name)
    for node in body.body:
        match node:
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name):
                names.add(name)
            case ast.Assign(targets):
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(ast.Name(name)):
                names.add(name)
    return frozenset(names)


@cache
def _definitions(module: ModuleType) -> dict[str, ast.ClassDef]:
    """The classes of a module, by their qualified names."""
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError):
        return {}
    found: dict[str, ast.ClassDef] = {}

    def look(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                found[f"{prefix}{child.name}"] = child
                look(child, f"{prefix}{child.name}.")
            elif isinstance(child, (ast.If, ast.Try)):
                look(child, prefix)

    look(tree, "")
    return found
