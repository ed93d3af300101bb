"""Print the lower bounds of pyproject.toml as constraints for pip, one a line: `typer>=0.27` becomes `typer==0.27`."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
tools = {"bench", "dev", "docs"}
needed = [*project["dependencies"]]
for name, extra in project["optional-dependencies"].items():
    needed += [] if name in tools else extra
for name, oldest in sorted(
    {(found[1], found[2]) for each in needed if (found := re.match(r"([\w.-]+)>=([\d.]+)", each))}
):
    print(f"{name}=={oldest}")
