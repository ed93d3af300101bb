"""What operators observe: probes, metrics, traces and the fields of log records.

`instrument` switches traces on. Log records of rxhub about an event have the attributes in `LOG_FIELDS`, with and
without traces.
"""

from rxhub.telemetry.handler_logging import add_event_fields
from rxhub.telemetry.log_fields import LOG_FIELDS
from rxhub.telemetry.tracing import instrument, uninstrument

__all__ = ["LOG_FIELDS", "add_event_fields", "instrument", "uninstrument"]
