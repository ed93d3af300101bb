"""`portal.vidispine.igeneral`: call helpers and return errors as values."""

# ruff: noqa: N802

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rxhub.vidispine.errors import RequestFailed, VidispineError

__all__ = ["performVSAPICall"]

logger = logging.getLogger(__name__)


def performVSAPICall(
    func: Callable[..., Any],
    args: Mapping[str, Any] | Sequence[Any] = (),
    vsapierror_templateorcode: object = None,  # noqa: ARG001 -- Portal's signature
) -> dict[str, Any]:
    """Call a helper's method with arguments by name or by position, as Portal's views do.

    Returns:
        `{"success": True, "response": …}`, or `{"success": False, "exception": {"error": …, "status": …}}` if the
        request to Vidispine failed. Exceptions of signal receivers are raised.
    """
    try:
        response = func(**args) if isinstance(args, Mapping) else func(*args)
    except VidispineError as error:
        logger.warning("%s failed: %s", getattr(func, "__qualname__", func), error)
        status = error.status if isinstance(error, RequestFailed) else None
        return {"success": False, "exception": {"error": str(error), "status": status}}
    return {"success": True, "response": response}
