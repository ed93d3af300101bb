"""The operators: subscriptions, dispatch and resilience as parts of any reactivex pipeline."""

from rxhub.operators._dispatch import dispatch
from rxhub.operators._overflow import overflow
from rxhub.operators._resume import resume
from rxhub.operators._where import where

__all__ = ["dispatch", "overflow", "resume", "where"]
