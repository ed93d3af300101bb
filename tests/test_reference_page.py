"""The pages in docs/reference document every public name.

A name is public if a package of rxhub lists it in `__all__`, or if a page imports it. As Sphinx does, the tests read
`automodule` with `:members:` as the names in `__all__` that exist in the module and have a docstring.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

import pytest

import rxhub

ROOT = Path(__file__).parents[1]
REFERENCE = "".join(page.read_text() for page in sorted((ROOT / "docs" / "reference").glob("*.md")))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# docs/reference/cli.md documents the commands.
NOT_FOR_PROGRAMS = ("rxhub.cli", "rxhub.web")
# Their packages re-export what users import.
INTERNAL = ("rxhub.testing.", "rxhub.transport.")


def directives() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Kind, target and options of each directive of the pages."""
    for kind, target, options in re.findall(r"(?m)^\.\. auto(\w+):: (\S+)\n((?:   :.*\n)*)", REFERENCE):
        yield kind, target, dict(re.findall(r"(?m)^   :([\w-]+): ?(.*)$", options))


def listed(option: str) -> list[str]:
    return [name.strip() for name in option.split(",") if name.strip()]


def has_docstring(module: ModuleType, name: str) -> bool:
    value = vars(module)[name]
    if inspect.isclass(value) or inspect.isroutine(value):
        return bool(value.__doc__)
    body = ast.parse(inspect.getsource(module)).body
    for statement, following in pairwise(body):
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
    return False


def named(target: str) -> tuple[str, Any]:
    """The last name of a dotted path, and its value."""
    path, _, name = target.rpartition(".")
    return name, getattr(import_module(path), name)


@cache
def documented() -> tuple[tuple[str, Any], ...]:
    """Documented names and their values."""
    found: list[tuple[str, Any]] = []
    for kind, target, options in directives():
        if kind != "module":
            found.append(named(target))
            continue
        module = import_module(target)
        found.append((target.rpartition(".")[2], module))
        if "members" not in options:
            continue
        chosen = listed(options["members"]) or [
            name for name in module.__all__ if name in vars(module) and has_docstring(module, name)
        ]
        found += [
            (name, getattr(module, name)) for name in chosen if name not in listed(options.get("exclude-members", ""))
        ]
    return tuple(found)


def packages() -> list[str]:
    found = [module.name for module in walk_packages(rxhub.__path__, "rxhub.") if module.ispkg]
    public = [name for name in ["rxhub", *found] if not name.startswith(NOT_FOR_PROGRAMS + INTERNAL)]
    return [name for name in public if getattr(import_module(name), "__all__", ())]


def is_documented(name: str, value: object) -> bool:
    return any(also == name and other is value for also, other in documented())


@pytest.mark.parametrize("package", packages())
def test_every_name_of_a_package_is_in_the_reference(package: str) -> None:
    module = import_module(package)
    missing = [name for name in module.__all__ if not is_documented(name, getattr(module, name))]
    assert not missing, f"docs/reference does not document {', '.join(missing)} of {package}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_name_that_a_page_imports_is_in_the_reference(page: Path) -> None:
    missing: list[str] = []
    for path, names in re.findall(r"(?m)^ *from (rxhub[\w.]*) import \(?([\w, \n]+)", page.read_text()):
        if not path.startswith(NOT_FOR_PROGRAMS):
            module = import_module(path)
            for name in listed(names.partition("\n\n")[0].replace("\n", ",")):
                if name.isidentifier() and hasattr(module, name) and not is_documented(name, getattr(module, name)):
                    missing.append(f"{path}.{name}")
    assert not missing, f"docs/reference does not document {', '.join(missing)}, which {page.relative_to(ROOT)} imports"
