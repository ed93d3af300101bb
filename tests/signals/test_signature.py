import inspect
from dataclasses import dataclass
from typing import TypedDict

import pytest

from rxhub.signals.signature import with_payload


class Sender:
    def send(self, /, sender=None, *, urgent=False, **named):
        """Send."""
        return sender, urgent, named


@dataclass
class Payload:
    shot: str
    frames: int = 1


class Dictionary(TypedDict):
    shot: str


def test_the_twin_does_what_the_method_does():
    send = with_payload(Sender().send, Payload)
    assert send("kim", urgent=True, shot="sh010") == ("kim", True, {"shot": "sh010"})
    assert send() == (None, False, {})
    assert send.__doc__ == "Send."


@pytest.mark.parametrize(
    ("payload", "signature"),
    [
        (Payload, "(sender=None, *, urgent=False, shot: str, frames: int = 1)"),
        (Dictionary, "(sender=None, *, urgent=False, shot: str)"),
        (lambda shot, *rest, by="kim", **more: None, "(sender=None, *, urgent=False, shot, by='kim', **more)"),
    ],
)
def test_it_tells_what_is_to_be_sent(payload, signature):
    assert str(inspect.signature(with_payload(Sender().send, payload))) == signature


def test_only_methods_that_are_written_in_python_have_a_twin():
    with pytest.raises(TypeError, match="is not a method written in Python"):
        with_payload(print, Payload)


class Partly(TypedDict, total=False):
    shot: str


def test_what_need_not_be_sent_has_a_default():
    parameter = inspect.signature(with_payload(Sender().send, Partly)).parameters["shot"]
    assert parameter.default is ...


@pytest.mark.parametrize("name", ["sender", "signal", "urgent"])
def test_what_is_passed_anyway_cannot_be_in_it(name):
    with pytest.raises(TypeError, match=f"{name} is passed to every receiver anyway"):
        with_payload(Sender().send, eval(f"lambda {name}: None"))


def test_self_can_be_in_it():
    assert [*inspect.signature(with_payload(Sender().send, eval("lambda self: None"))).parameters][-1] == "self"


@pytest.mark.parametrize("payload", [dict, int])
def test_what_has_no_signature_is_refused(payload):
    with pytest.raises(TypeError, match="has no signature"):
        with_payload(Sender().send, payload)
