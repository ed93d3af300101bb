"""Programs in JavaScript that tests talk to, and npm's packages that they are made of."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

__all__ = ["install"]

_PEERS = Path(__file__).parent / "peers"


def install(peer: str, folder: Path) -> Path:
    """Put the programs of `tests/peers/<peer>` into `folder`, beside their packages, which are downloaded once."""
    shutil.copytree(_PEERS / peer, folder, dirs_exist_ok=True)
    needed = json.loads((folder / "package.json").read_text())["dependencies"]
    if not all((folder / "node_modules" / package / "package.json").exists() for package in needed):
        subprocess.run(
            ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"],
            cwd=folder,
            check=True,
            timeout=100,
            capture_output=True,
        )
    return folder
