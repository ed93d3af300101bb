"""The operators: subscriptions, dispatch and resilience as parts of any reactivex pipeline."""

from rxhub.operators._events import dispatch, where
from rxhub.operators._overflow import overflow
from rxhub.operators._resume import resume

__all__ = ["dispatch", "overflow", "resume", "where"]
