"""Import modules and find their hubs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from itertools import takewhile
from operator import attrgetter
from pathlib import Path
from traceback import FrameSummary, extract_tb, format_exception_only, format_list
from types import ModuleType
from typing import NamedTuple

from rxhub.errors import RxHubError, error_text
from rxhub.hub import EventHub
from rxhub.redaction import redacted_text

__all__ = ["LoadError", "NamedHub", "load"]

# Frames of the import itself, which do not help to find the error.
_IMPORTER = "<frozen importlib"


class LoadError(RxHubError):
    """A module cannot be imported, or has no hub to run."""


class NamedHub(NamedTuple):
    """A hub of a module, and its name on the command line."""

    name: str
    hub: EventHub


def load(targets: Iterable[str]) -> list[NamedHub]:
    """Import `MODULE` or `MODULE:HUB` from the working directory or the path; the hubs, each once.

    All modules are imported before the hubs are looked up, because a module may add handlers to the hub of another one.
    Raises LoadError.
    """
    directory = str(Path.cwd())
    if directory not in sys.path:
        sys.path.insert(0, directory)
    split = [(target, *_split(target)) for target in targets]
    modules = [(target, _import(name), attribute) for target, name, attribute in split]
    found: dict[int, NamedHub] = {}
    for target, module, attribute in modules:
        each = _named(target, module, attribute) if attribute else _only_hub(module)
        found.setdefault(id(each.hub), each)
    return list(found.values())


def _split(target: str) -> tuple[str, str]:
    name, colon, attribute = target.partition(":")
    if all(part.isidentifier() for part in name.split(".")) and (not colon or attribute):
        if name.endswith(".py") and Path(name).is_file():
            raise LoadError(f"{target} names a file. Give the module: {name.removesuffix('.py')}")
        return name, attribute
    path = Path(name)
    is_below = path.name and path.exists() and not path.anchor and ".." not in path.parts
    hint = f" Give the module: {'.'.join(path.with_suffix('').parts)}" if is_below else ""
    raise LoadError(f"{target!r} is not MODULE or MODULE:HUB, for example farm.handlers:hub.{hint}")


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            module, _, attribute = name.rpartition(".")
            if isinstance(getattr(sys.modules.get(module), attribute, None), EventHub):
                raise LoadError(
                    f"Could not import {name}: {attribute} is a hub of the module {module}. Use {module}:{attribute}."
                ) from None
            raise LoadError(
                f"Could not import {name}: there is no module {error.name} in {Path.cwd()} or on the Python path. Run "
                "the command in the directory that contains it, or set PYTHONPATH."
            ) from None
        raise _failure(name, error) from None
    except (Exception, SystemExit) as error:
        raise _failure(name, error) from None


def _failure(name: str, error: BaseException) -> LoadError:
    """An error in the code of the module; with its traceback, unless the message is enough."""
    frames = [frame for frame in extract_tb(error.__traceback__) if _IMPORTER not in frame.filename][2:]
    text = redacted_text(error_text(error) or type(error).__name__)
    if isinstance(error, RxHubError):
        place = _place(list(takewhile(lambda frame: not _is_ours(frame), frames)))
        return LoadError(f"Could not import {name}{place}: {text}")
    what = redacted_text("".join([*format_list(frames), *format_exception_only(error)]).rstrip())
    return LoadError(f"Could not import {name}{_place(frames)}: it raised {type(error).__name__}.\n{what}")


def _place(frames: Sequence[FrameSummary]) -> str:
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _is_ours(frame: FrameSummary) -> bool:
    return Path(frame.filename).is_relative_to(Path(__file__).parents[1])


def _named(target: str, module: ModuleType, attribute: str) -> NamedHub:
    try:
        value = attrgetter(attribute)(module)
    except AttributeError:
        raise LoadError(f"{module.__name__} has no attribute {attribute}. {_choices(module)}") from None
    if not isinstance(value, EventHub):
        raise LoadError(f"{target} is a {type(value).__name__}, not an EventHub. {_choices(module)}")
    return NamedHub(target, value)


def _only_hub(module: ModuleType) -> NamedHub:
    hubs = _hubs(module)
    if len(hubs) == 1:
        return NamedHub(f"{module.__name__}:{hubs[0][0]}", hubs[0][1])
    raise LoadError(_choices(module))


def _choices(module: ModuleType) -> str:
    hubs = [f"{module.__name__}:{name}" for name, _ in _hubs(module)]
    if not hubs:
        return f"{module.__name__} defines no EventHub. Assign one to a name of the module: hub = EventHub(…)"
    if len(hubs) == 1:
        return f"Its hub: {hubs[0]}"
    return f"{module.__name__} has several hubs. Give one of {', '.join(hubs)}"


def _hubs(module: ModuleType) -> list[tuple[str, EventHub]]:
    """The hubs among the names of a module, each under its first name."""
    first: dict[int, tuple[str, EventHub]] = {}
    for name, value in vars(module).items():
        if isinstance(value, EventHub):
            first.setdefault(id(value), (name, value))
    return list(first.values())
