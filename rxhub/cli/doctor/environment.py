"""Check Python, rxhub and its dependencies, as the metadata of rxhub specify them."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, metadata, version
from typing import TYPE_CHECKING

from rxhub.cli.doctor.diagnosis import Finding, note, ok, problem

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

__all__ = ["environment"]

_PURPOSES = {
    "cli": "the command rxhub",
    "vidispine": "Vidispine's API and its notifications",
    "server": "running a server",
    "nats": "hubs on NATS JetStream",
    "embedded": "a private NATS server: rxhub serve --store",
    "jupyter": "rxhub.jupyter: live tables in a notebook",
    "testing": "rxhub.testing: strategies, virtual time, marbles",
}
_FOR_DEVELOPERS = {"all", "bench", "dev", "docs", "test"}


def environment() -> Iterator[Finding]:
    """Check the versions of Python, dependencies and extras."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    yield ok(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    try:
        own = metadata("rxhub")
    except PackageNotFoundError:
        found = "rxhub is not installed, so its requirements are unknown"
        yield problem(found, "pip install rxhub, or pip install -e . in a clone.")
        return
    if not _allows(SpecifierSet(own["Requires-Python"]), platform.python_version()):
        remedy = f"Create a new environment with another Python than {sys.executable}."
        yield problem(f"rxhub needs Python {own['Requires-Python']}", remedy)
    yield ok(f"rxhub {own['Version']}")
    all_requirements = [Requirement(text) for text in own.get_all("Requires-Dist") or []]
    core = [each for each in all_requirements if each.marker is None or each.marker.evaluate({"extra": ""})]
    for requirement in core:
        yield _needed(requirement)
    others = [each for each in all_requirements if each not in core and each.name != "rxhub"]
    for extra in sorted({*(own.get_all("Provides-Extra") or [])} - _FOR_DEVELOPERS):
        yield _optional(extra, [each for each in others if each.marker and each.marker.evaluate({"extra": extra})])


def _needed(requirement: Requirement) -> Finding:
    name, found, wanted = requirement.name, _version(requirement.name), requirement.specifier
    remedy = f"pip install '{name}{wanted}'"
    if not found:
        return problem(f"{name} is not installed", remedy)
    if not _allows(wanted, found):
        return problem(f"{name} {found}, but rxhub needs {wanted}", remedy)
    return ok(f"{name} {found}")


def _optional(extra: str, requirements: Sequence[Requirement]) -> Finding:
    title = f"extra {extra} ({_PURPOSES[extra]})" if extra in _PURPOSES else f"extra {extra}"
    remedy = f"pip install 'rxhub[{extra}]'"
    found = {each.name: _version(each.name) for each in requirements}
    is_old = {each.name: not _allows(each.specifier, found[each.name] or "0") for each in requirements}
    if old := [f"{name} {number}" for name, number in found.items() if number and is_old[name]]:
        return problem(f"{title}: {', '.join(old)} is not supported", remedy)
    if missing := [name for name, number in found.items() if not number]:
        return note(f"{title}: not installed: {', '.join(missing)}", remedy)
    return ok(f"{title}: {', '.join(f'{name} {number}' for name, number in found.items())}")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _allows(wanted: SpecifierSet, found: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return wanted.contains(Version(found), prereleases=True)
    except InvalidVersion:  # such as `3.15.0a1+`, a Python built from its repository: it cannot be compared
        return True
