"""Plugins come from entry points of real distributions, or from a list."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from rxhub.plugins import given, installed
from tests.distributions import install


class Colour:
    def bootstrap(self, hub: object) -> None: ...


class Named(Colour):
    name = "review"


def test_installed_plugins_are_named_with_their_distributions_and_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "studio-review", "2.0", {"review": "studio_review:Review"})
    install(tmp_path, "studio-colour", "1.2", {"colour": "studio_colour", "alpha": "studio_colour:alpha"})
    monkeypatch.syspath_prepend(tmp_path)
    assert [(p.name, p.source, p.distribution, p.version) for p in installed()] == [
        ("alpha", "studio_colour:alpha", "studio-colour", "1.2"),
        ("colour", "studio_colour", "studio-colour", "1.2"),
        ("review", "studio_review:Review", "studio-review", "2.0"),
    ]
    assert not {"studio_colour", "studio_review"} & set(sys.modules)
    assert [p.key for p in installed()] == [p.key for p in installed()]


def test_given_plugins_are_named_by_themselves() -> None:
    module = ModuleType("studio.module")
    plugins = given([Colour, Colour(), Named, module, test_given_plugins_are_named_by_themselves])
    assert [p.name for p in plugins] == [
        "Colour",
        "Colour",
        "review",
        "studio.module",
        "test_given_plugins_are_named_by_themselves",
    ]
    assert plugins[0].source == plugins[1].source == f"{__name__}:Colour"
    assert plugins[3].source == "studio.module"
    assert plugins[2].load() is Named


def test_given_plugins_are_the_same_by_identity_alone() -> None:
    one, other = Colour(), Colour()
    keys = [p.key for p in given([one, other, one])]
    assert keys[0] == keys[2] != keys[1] and hash(keys[0]) == hash(keys[2])


@pytest.mark.parametrize("plugins", ["colour", Colour, 7])
def test_they_are_given_in_a_list(plugins: object) -> None:
    with pytest.raises(TypeError, match=r"hub\.bootstrap\(\[plugin, …\]\)"):
        given(plugins)
