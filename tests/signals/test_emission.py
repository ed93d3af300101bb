import pytest

from rxhub import Emission, Signal
from rxhub.signals.emission import sender_name


class Shot:
    class Version:
        pass


@pytest.fixture
def emission():
    return Emission(Signal("approved"), Shot, {"shot": "sh010", "by": "kim"})


def test_it_is_a_mapping_of_its_kwargs(emission):
    assert dict(emission) == {"shot": "sh010", "by": "kim"}
    assert (len(emission), [*emission], "shot" in emission) == (2, ["shot", "by"], True)
    assert emission.get("missing") is None


def test_it_cannot_be_written_to(emission):
    with pytest.raises(TypeError):
        emission["shot"] = "sh020"


def test_sender_and_signal_can_be_asked_for_by_name(emission):
    assert (emission["sender"], emission["signal"]) == ("Shot", "approved")
    assert "sender" in emission
    assert "sender" not in dict(emission)
    with pytest.raises(KeyError):
        emission["missing"]


def test_it_stops_once_and_for_all(emission):
    assert not emission.is_stopped()
    emission.stop()
    emission.stop()
    assert emission.is_stopped()


def test_its_repr_shows_no_secret():
    named = {"newPassword": "hunter2", "headers": {"api_key": "k3y"}, "name": "kim"}
    assert repr(Emission(Signal("created"), Shot, named)) == (
        "<Emission of created by Shot: {'newPassword': '***', 'headers': {'api_key': '***'}, 'name': 'kim'}>"
    )


@pytest.mark.parametrize(
    ("sender", "name"),
    [
        (None, None),
        ("farm", "farm"),
        (Shot, "Shot"),
        (Shot.Version, "Shot.Version"),
        (Shot(), "Shot"),
        (pytest, "pytest"),
        (sender_name, "sender_name"),
        (7, "int"),
    ],
)
def test_senders_have_names(sender, name):
    assert sender_name(sender) == name


def test_a_sender_whose_attributes_are_strange_goes_by_its_class():
    class Strange:
        __name__ = 3

    assert sender_name(Strange()).endswith("Strange")
