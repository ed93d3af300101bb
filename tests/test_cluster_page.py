"""nats-server accepts the configurations of docs/operate/cluster.md."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from rxhub.embedded.binary import find

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/operate/cluster.md").read_text()
FILES = dict(re.findall(r"```text\n# (/etc/nats/\S+\.conf.*)\n((?:.*\n)*?)```", PAGE))
NODES = [name for name in FILES if " on " in name]


def test_the_page_configures_three_nodes_and_two_shared_files():
    assert len(NODES) == 3 and set(FILES) - set(NODES) == {"/etc/nats/common.conf", "/etc/nats/users.conf"}


@pytest.mark.parametrize("node", NODES)
def test_nats_server_accepts_the_configuration(node: str, tmp_path: Path):
    certificate = ROOT / "tests/data/tls/localhost.pem"
    for name, text in FILES.items():
        if name == node or name not in NODES:
            here = re.sub(r'"/etc/nats/\w+\.(?:pem|key)"', f'"{certificate}"', text)
            path = tmp_path / Path(name.split()[0]).name
            path.write_text(here.replace("/var/lib/nats", str(tmp_path / "store")))
    checked = subprocess.run(
        [str(find()), "-t", "-c", str(tmp_path / "nats-server.conf")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert checked.returncode == 0 and "is valid" in checked.stderr, checked.stderr
