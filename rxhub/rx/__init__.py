"""Reactive building blocks: the subject, the scope that owns subscriptions, and awaitable observables."""
