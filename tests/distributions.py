"""Real distributions, so small that a test writes them: modules beside the metadata that names their plugins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

__all__ = ["install"]


def install(
    directory: Path, name: str, version: str, entry_points: Mapping[str, str], modules: Mapping[str, str] = {}
) -> None:
    """Install a distribution into `directory`, where it is found once that is on `sys.path`.

    Args:
        directory: stands for site-packages.
        name: of the distribution.
        version: of the distribution.
        entry_points: of the group `rxhub.plugins`.
        modules: source by module name.
    """
    metadata = directory / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    named = "".join(f"{key} = {value}\n" for key, value in entry_points.items())
    (metadata / "entry_points.txt").write_text(f"[rxhub.plugins]\n{named}")
    for module, source in modules.items():
        (directory / f"{module}.py").write_text(dedent(source))
