"""The operators: subscriptions, dispatch, resilience and time as parts of any reactivex pipeline."""

from rxhub.operators._events import dispatch, where
from rxhub.operators._missing import missing
from rxhub.operators._overflow import overflow
from rxhub.operators._resume import resume
from rxhub.operators._sessions import sessions
from rxhub.operators._within import within

__all__ = ["dispatch", "missing", "overflow", "resume", "sessions", "where", "within"]
