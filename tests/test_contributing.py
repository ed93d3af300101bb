"""The packages and modules in CONTRIBUTING.md, the design and docstrings are those of the source and its contracts."""

from __future__ import annotations

import ast
import importlib
import keyword
import pkgutil
import re
import tomllib
from itertools import groupby
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = re.findall(r"(?m)^\| (\d+) \| `(\w+)(?:/|\.py)` \| (.*) \|$", (ROOT / "CONTRIBUTING.md").read_text())
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
LAYERS = next(each["layers"] for each in CONTRACTS if each["type"] == "layers" and each["containers"] == ["rxhub"])
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "rxhub").rglob("*.py")
}
PAGES = {name: (ROOT / name).read_text() for name in ("CONTRIBUTING.md", "docs/design.md")}
DOCSTRINGS = {
    ".".join(path.parent.relative_to(ROOT).parts): ast.get_docstring(ast.parse(path.read_text())) or ""
    for path in (ROOT / "rxhub").rglob("__init__.py")
}
# The group of the entry points.
NO_MODULES = {"rxhub.transports"}


def packages(layer: str) -> set[str]:
    return set(re.findall(r"\w+", layer)) - {"__main__"}


def test_the_layers_are_those_of_the_contract() -> None:
    table = [{name for _, name, _ in rows} for _, rows in groupby(ROWS, key=lambda row: row[0])]
    assert table == [packages(layer) for layer in LAYERS if packages(layer)]
    assert [int(number) for number, _ in groupby(ROWS, key=lambda row: row[0])] == list(range(len(table), 0, -1))


def test_packages_that_must_not_import_each_other_say_so() -> None:
    contents = {name: text for _, name, text in ROWS}
    for layer in LAYERS:
        if "|" in layer:
            for package in packages(layer):
                others = packages(layer) - {package}
                assert all(f"`{other}/`" in contents[package].partition("must not import")[2] for other in others)


def names(text: str) -> set[str]:
    """The lower-case names in backticks, outside of code blocks."""
    return set(re.findall(r"`([a-z_]+)`", text))


def modules_of(package: str) -> set[str]:
    return {name.removeprefix(f"{package}.") for name in MODULES if name.rpartition(".")[0] == package}


def test_names_below_rxhub_exist() -> None:
    texts = [*PAGES.values(), *(path.read_text() for path in (ROOT / "rxhub").rglob("*.py"))]
    missing: set[str] = set()
    for name in {name for text in texts for name in re.findall(r"`(rxhub(?:\.\w+)+)", text)} - NO_MODULES:
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError):
            missing.add(name)
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_paths_in_pages_exist(page: str) -> None:
    text = re.sub(r"(?s)```.*?```", "", PAGES[page])
    for path in re.findall(r"`([\w.]+/[\w./]*|\w+\.(?:py|lark))`", text):
        # A package, a module with or without its suffix, or the end of a path.
        ends = [path.rstrip("/"), f"{path}.py"]
        assert any(
            (ROOT / end).exists() or any((ROOT / top).rglob(end)) for end in ends for top in ("rxhub", "tests")
        ), path


def test_the_diagram_of_packages_has_all_packages() -> None:
    diagram = re.split(r"```", PAGES["docs/design.md"].partition("\n## Packages\n")[2])[1]
    found = re.findall(r"[a-z]+", "\n".join(line[:42] for line in diagram.splitlines()))
    assert sorted(found) == sorted(name for layer in LAYERS for name in packages(layer))


def test_the_design_names_existing_modules() -> None:
    design = PAGES["docs/design.md"]
    table = design.partition("| part | modules |\n")[2].partition("\n\n")[0]
    assert names(table)
    assert names(table) <= modules_of("rxhub.server")
    components = re.search(r"The components ([^.]*) each own", design)
    assert components is not None
    assert names(components[1]) <= modules_of("rxhub.hub")


@pytest.mark.parametrize("package", DOCSTRINGS)
def test_docstrings_of_packages_name_existing_modules(package: str) -> None:
    text, modules = DOCSTRINGS[package], modules_of(package)
    listed = {name for name in names(text) - {"rxhub"} if not keyword.iskeyword(name)}
    if len(listed & modules) > len(listed) / 2:
        # The text lists modules, and may also name what the package exports.
        assert listed - modules <= set(getattr(importlib.import_module(package), "__all__", ()))
