"""What type checkers and `connect` say of receivers."""

from __future__ import annotations

import functools
import gc
import inspect
import subprocess
import sys
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rxhub import Delivery, Emission, Event, Signal, Subject, receiver


@dataclass
class Approval:
    shot: str
    version: int = 1


def test_an_option_that_does_not_exist_is_an_error_with_a_hint() -> None:
    with pytest.raises(TypeError, match="Did you mean 'where'"):
        receiver(Signal(), wher="x=1")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="sender, weak"):
        receiver(Signal(), quick=True)  # type: ignore[call-arg]


def test_type_checkers_flag_it(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("""
from typing import Any
from rxhub import Signal, receiver

def payload(shot: str, version: int) -> None: ...
signal = Signal("approved", payload)

@receiver(signal, where="version>1", priority=5)
def good(**kwargs: Any) -> None: ...

@receiver(signal, wher="version>1")
def bad(**kwargs: Any) -> None: ...

signal.send("me", shot="a", version=1)
signal.send("me", shto="a", version=1)
""")
    command = [sys.executable, "-m", "basedpyright", "--level", "error", "--pythonpath", sys.executable, str(program)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    flagged = {line.split(":")[1] for line in done.stdout.splitlines() if " - error" in line}
    assert flagged == {"11", "15"}, done.stdout


@pytest.mark.parametrize(
    ("receiver", "why"),
    [
        (lambda **kwargs: None, ""),
        (lambda sender, **kwargs: None, ""),
        (lambda signal, sender, shot, version=1: None, ""),
        (lambda emission, signal, sender, shot, version=2: None, ""),
        (lambda signal, sender, shot: None, "it takes no version"),
        (lambda shto, **kwargs: None, "requires shto"),
        (functools.partial(lambda extra, **kwargs: None, extra=1), ""),
    ],
)
def test_receivers_are_checked_against_the_payload_on_request(receiver: Any, why: str) -> None:
    signal = Signal("approved", Approval, check_receivers=True)
    if not why:
        signal.connect(receiver, weak=False)
        return
    with pytest.raises(TypeError, match=why):
        signal.connect(receiver)
    Signal("unchecked", Approval).connect(receiver)


def test_a_payload_that_is_optional_may_not_be_required() -> None:
    signal = Signal("approved", Approval, check_receivers=True)
    with pytest.raises(TypeError, match="requires version"):
        signal.connect(lambda version, **kwargs: None)


def test_a_signal_with_a_payload_is_what_it_was() -> None:
    signal = Signal("approved", Approval)
    assert list(inspect.signature(signal.send).parameters) == ["sender", "shot", "version"]
    assert isinstance(signal, Signal) and type(signal).__name__ == "Signal"
    seen: list[Any] = []
    signal.connect(lambda **named: seen.append(named["shot"]), weak=False)
    signal.send("me", shot="a")
    assert seen == ["a"]


@pytest.mark.parametrize(
    "make",
    [
        Signal,
        lambda: Signal("a", Approval),
        lambda: Subject(),
        lambda: Event("a"),
        lambda: Emission(Signal(), None, {}),
        Delivery,
    ],
    ids=["signal", "with a payload", "subject", "event", "emission", "delivery"],
)
def test_objects_are_freed_at_once(make: Any) -> None:
    gc.collect()
    gc.disable()
    try:
        made = make()
        dead = weakref.ref(made)
        del made
        assert dead() is None
    finally:
        gc.enable()
