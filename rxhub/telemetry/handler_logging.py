"""A filter that adds the fields of events to the log records of handlers."""

from __future__ import annotations

import logging

from rxhub.telemetry import tracing
from rxhub.telemetry.log_fields import LOG_FIELDS

__all__ = ["add_event_fields"]


def add_event_fields(record: logging.LogRecord) -> bool:
    """Add the attributes in `LOG_FIELDS` to a log record that lacks them: a filter that drops no record.

    Add it to logging handlers, such as that of a file. Records that a callback or a handler of a group writes get the
    values of its event; that requires `instrument`, but no provider. All other records get None.
    """
    if not hasattr(record, LOG_FIELDS[0]):
        fields = None if tracing.active is None else tracing.active.handled_fields()
        vars(record).update(dict.fromkeys(LOG_FIELDS) if fields is None else fields)
    return True
