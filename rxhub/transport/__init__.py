"""Transports: they move events in and out of a hub."""

from rxhub.transport.durable import Durable, durable
from rxhub.transport.protocols import Sink, Transport

__all__ = ["Durable", "Sink", "Transport", "durable"]
