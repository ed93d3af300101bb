"""Query parameters.

`rxhub.server.key_removal` removes queries from the scope, because they can contain keys. So `request.query_params` is
empty, and endpoints call `parameters`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import parse_qsl

from starlette.requests import Request

from rxhub.server.key_removal import query_of
from rxhub.text.moments import parse_moment
from rxhub.web.problems import Problem

__all__ = ["integer", "moment", "parameters", "path_number"]

_MAX_FIELDS = 50


def parameters(request: Request, *names: str) -> dict[str, str]:
    """The query parameters of a request.

    Args:
        request: the request.
        names: the parameters that the endpoint has. Parameters without a value are empty strings.

    Raises:
        Problem: if the query has others, or one twice, or is not valid UTF-8.
    """
    found: dict[str, str] = {}
    try:
        pairs = parse_qsl(
            query_of(request.scope).decode("ascii"),
            keep_blank_values=True,
            max_num_fields=_MAX_FIELDS,
            errors="strict",
        )
    except ValueError as error:
        raise Problem(400, f"The query of this request is not valid: {error}.") from None
    for name, value in pairs:
        if name not in names:
            known = ", ".join(names) or "none"
            raise Problem(400, f"{name[:80]!r} is not a parameter of this path. Its parameters are: {known}.")
        if name in found:
            raise Problem(400, f"The parameter {name!r} occurs twice. Send it once.")
        found[name] = value
    return found


def integer(given: Mapping[str, str], name: str, default: int, least: int = 0, most: int = 2**63 - 1) -> int:
    """A parameter as a whole number.

    Raises:
        Problem: if it is not a number within the range.
    """
    text = given.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        raise Problem(400, f"The parameter {name!r} must be a whole number from {least} to {most}.")
    return int(text)


def moment(given: Mapping[str, str], name: str) -> datetime | timedelta | int | None:
    """A parameter as a time, a duration before now, or a number; None if it is not given.

    Raises:
        Problem: if it is none of them.
    """
    text = given.get(name)
    if not text:
        return None
    try:
        # A plus sign in a query is a space.
        return parse_moment(text.replace(" ", "+") if "T" in text else text)
    except ValueError as error:
        raise Problem(400, f"The parameter {name!r}: {error}") from None


def path_number(request: Request) -> int:
    """The number in the path of a request.

    Raises:
        Problem: 404 if it is not one.
    """
    text: str = request.path_params["id"]
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Problem(404, "This path does not exist. /api/openapi.json lists the paths.")
    return int(text)
