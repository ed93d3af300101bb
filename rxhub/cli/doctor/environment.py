"""Check Python, rxhub and its dependencies, as the metadata of rxhub specify them."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, version
from itertools import zip_longest

from rxhub.cli.doctor.diagnosis import Finding, Verdict

__all__ = ["environment", "satisfies"]

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
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[[^]]*\])?\s*\(?(?P<range>[^;)]*)\)?\s*(?:;(?P<marker>.*))?")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([\w-]+)['"]""")
_COMPARISON = re.compile(r"(>=|<=|==|!=|<|>)\s*([\d.]+)")


def environment() -> Iterator[Finding]:
    """Check the versions of Python, dependencies and extras."""
    yield Finding(Verdict.OK, f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    try:
        own = metadata("rxhub")
    except PackageNotFoundError:
        yield Finding(
            Verdict.PROBLEM,
            "rxhub is not installed, so its requirements are unknown",
            "pip install rxhub, or pip install -e . in a clone.",
        )
        return
    python = str(own.json.get("requires_python", ""))
    if not satisfies(platform.python_version(), python):
        remedy = f"Create a new environment with another Python than {sys.executable}."
        yield Finding(Verdict.PROBLEM, f"rxhub needs Python {python}", remedy)
    yield Finding(Verdict.OK, f"rxhub {own['Version']}")
    extras: dict[str, list[tuple[str, str]]] = {}
    for text in own.get_all("Requires-Dist") or []:
        if (requirement := _REQUIREMENT.match(text)) is None:
            continue
        name, wanted, marker = requirement["name"], requirement["range"].strip(), requirement["marker"] or ""
        extra = _EXTRA.search(marker)
        if extra is not None:
            extras.setdefault(extra[1], []).append((name, wanted))
        elif not marker:
            yield _needed(name, wanted)
    for extra, requirements in sorted(extras.items()):
        if extra not in _FOR_DEVELOPERS:
            yield _optional(extra, requirements)


def _needed(name: str, wanted: str) -> Finding:
    found = _version(name)
    if not found:
        return Finding(Verdict.PROBLEM, f"{name} is not installed", f"pip install '{name}{wanted}'")
    if not satisfies(found, wanted):
        return Finding(Verdict.PROBLEM, f"{name} {found}, but rxhub needs {wanted}", f"pip install '{name}{wanted}'")
    return Finding(Verdict.OK, f"{name} {found}")


def _optional(extra: str, requirements: list[tuple[str, str]]) -> Finding:
    purpose = f" ({_PURPOSES[extra]})" if extra in _PURPOSES else ""
    found = {name: _version(name) for name, _ in requirements if name != "rxhub"}
    missing = [name for name, number in found.items() if not number]
    old = [
        f"{name} {found[name]}"
        for name, wanted in requirements
        if found.get(name) and not satisfies(found[name], wanted)
    ]
    remedy = f"pip install 'rxhub[{extra}]'"
    if old:
        return Finding(Verdict.PROBLEM, f"extra {extra}{purpose}: {', '.join(old)} is not supported", remedy)
    if missing:
        return Finding(Verdict.NOTE, f"extra {extra}{purpose}: not installed: {', '.join(missing)}", remedy)
    return Finding(
        Verdict.OK, f"extra {extra}{purpose}: {', '.join(f'{name} {number}' for name, number in found.items())}"
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def satisfies(found: str, wanted: str) -> bool:
    """Return whether a version is in a range such as `>=5.1,<7`. Only the numbers are compared."""
    for sign, bound in _COMPARISON.findall(wanted):
        pairs = list(zip_longest(_numbers(found), _numbers(bound), fillvalue=0))
        ours, theirs = [ours for ours, _ in pairs], [theirs for _, theirs in pairs]
        if not {
            ">=": ours >= theirs,
            "<=": ours <= theirs,
            ">": ours > theirs,
            "<": ours < theirs,
            "==": ours == theirs,
            "!=": ours != theirs,
        }[sign]:
            return False
    return True


def _numbers(version: str) -> list[int]:
    numbers: list[int] = []
    for part in version.split("."):
        digits = re.match(r"\d+", part)
        if digits is None:
            break
        numbers.append(int(digits[0]))
        if digits[0] != part:
            break  # ignore suffixes, as in 6.0rc1
    return numbers
