"""The table of layers in CONTRIBUTING.md is that of the import contracts in pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROWS = re.findall(r"(?m)^\| (\d+) \| `(\w+)(?:/|\.py)` \| (.*) \|$", (ROOT / "CONTRIBUTING.md").read_text())
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
LAYERS = next(each["layers"] for each in CONTRACTS if each["type"] == "layers" and each["containers"] == ["rxhub"])


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
