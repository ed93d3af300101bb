"""Log messages of rxhub without characters that a terminal would obey.

Topics, ids and error texts from other programs are arguments of log messages. A filter on a logger sees only what is
logged through that very logger, so every logger of rxhub gets the filter, here, in one place.
"""

from __future__ import annotations

import logging
import traceback

from rxhub.text.printable import printable

__all__ = ["LOGGERS", "PrintableFormatter", "PrintableRecords", "install", "make_printable"]

LOGGERS = (
    "rxhub",
    "rxhub.bridge",
    "rxhub.compat.cantemo",
    "rxhub.compat.cantemo.igeneral",
    "rxhub.compat.ftrack.websockets",
    "rxhub.embedded",
    "rxhub.server",
    "rxhub.server.http",
    "rxhub.vidispine.notifications",
    "rxhub.websocket",
)
"""The names of all loggers that rxhub logs through."""


class PrintableRecords(logging.Filter):
    r"""Lets every record pass, with `\x9b` and the like for what is not printable.

    Line breaks in text arguments are escaped too, so that an event cannot forge a line of the log; so are those of an
    error whose traceback follows.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            whole = record.exc_info is not None
            record.args = tuple([_argument(each, whole) for each in record.args])
        try:
            message = record.getMessage()
        except Exception:
            return True  # logging itself reports it, with the place of the call
        if (clean := printable(message, lines=True)) is not message:
            record.msg, record.args = clean, None
        if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None and not record.exc_text:
            said = "".join(traceback.format_exception(record.exc_info[1])).rstrip("\n")
            if (clean := printable(said, lines=True)) != said:
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


class PrintableFormatter(logging.Formatter):
    """For the commands' own log, where other libraries log as well."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), lines=True)


def install() -> None:
    """Add the filter to all loggers of rxhub."""
    for name in LOGGERS:
        make_printable(logging.getLogger(name))


def make_printable(logger: logging.Logger) -> None:
    """Add the filter to a logger, once."""
    if not any(isinstance(each, PrintableRecords) for each in logger.filters):
        logger.addFilter(PrintableRecords())
