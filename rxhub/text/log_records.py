"""Escape control characters in the log messages of rxhub.

The arguments of log messages include topics, ids and error texts of other programs. A filter of a logger does not see
the messages of its child loggers, so every logger of rxhub gets the filter.
"""

from __future__ import annotations

import logging
import traceback

from rxhub.text.printable import printable

__all__ = ["LOGGERS", "PrintableFormatter", "escape_record", "install"]

LOGGERS = (
    "rxhub",
    "rxhub.bridge",
    "rxhub.compat.cantemo",
    "rxhub.compat.cantemo.modules",
    "rxhub.compat.ftrack.websockets",
    "rxhub.demo",
    "rxhub.embedded",
    "rxhub.server",
    "rxhub.server.http",
    "rxhub.vidispine.notifications",
    "rxhub.websocket",
    "rxhub.worker",
)
"""The names of all loggers of rxhub."""


class PrintableFormatter(logging.Formatter):
    """For the log of the commands, which other libraries use, too."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), lines=True)


def escape_record(record: logging.LogRecord) -> bool:
    r"""Escape characters that are not printable, for example as `\x9b`: a filter that drops no record.

    Line breaks in string arguments are escaped, too, so that an event cannot forge a line of the log; likewise those of
    an error whose traceback follows.
    """
    if isinstance(record.args, tuple):
        has_traceback = record.exc_info is not None
        record.args = tuple([_argument(each, has_traceback) for each in record.args])
    try:
        message = record.getMessage()
    except Exception:
        return True  # logging reports the error with the position of the call
    if (clean := printable(message, lines=True)) is not message:
        record.msg, record.args = clean, None
    if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None and not record.exc_text:
        text = "".join(traceback.format_exception(record.exc_info[1])).rstrip("\n")
        if (clean := printable(text, lines=True)) != text:
            record.exc_text = clean  # formatters prefer it to the exception
    return True


def _argument(value: object, has_traceback: bool) -> object:
    if isinstance(value, str):
        return printable(value)
    if has_traceback and isinstance(value, BaseException):
        try:
            text = str(value)
        except Exception:
            return value
        return value if (clean := printable(text)) == text else clean
    return value


def install() -> None:
    """Add the filter to all loggers of rxhub."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(escape_record)
