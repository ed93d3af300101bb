"""What happens to users, groups and roles in Django's database, as signals.

Django tells of saves, deletions and memberships with the instance itself in hand. What leaves here is plain data that
may go anywhere: the primary key, the natural key (the username), and what kind of change it was. Values of fields are
never looked at, so that no password hash can leave.

Django sends with the class that was saved as the sender, so a proxy or a subclass of the user model has to be
connected to as well; `Family` is a model and all of those.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib import import_module
from itertools import count
from typing import Any

from rxhub.signals.signal import Signal

__all__ = ["DatabaseSignals", "database_signals", "models_of"]

logger = logging.getLogger("rxhub")

_KINDS = ("pre_save", "post_save", "pre_delete", "post_delete", "m2m_changed")
_numbers = count(1)


class DatabaseSignals(Mapping[str, Signal[...]]):
    """The signals of some models, by name: `signals["auth.user.post_save"]`.

    Each is sent with `send_robust`, so that no receiver can break a save; the sender is the model.

    Args:
        models: the models.
        prefix: what the signals' names begin with.
    """

    def __init__(self, models: Iterable[Any], prefix: str) -> None:
        self._signals: dict[str, Signal[...]] = {}
        self._connected: list[tuple[Any, Any]] = []
        self._uid = f"rxhub.database_signals {next(_numbers)}"
        for model in models:
            self._connect(model, prefix)

    def _connect(self, model: Any, prefix: str) -> None:
        django_signals = import_module("django.db.models.signals")
        label = model._meta.label_lower
        ours = {kind: Signal(f"{prefix}.{label}.{kind}") for kind in _KINDS}
        self._signals.update((f"{label}.{kind}", signal) for kind, signal in ours.items())
        for kind in _KINDS[:-1]:
            for sender in _with_subclasses(model):
                self._listen(getattr(django_signals, kind), partial(_on_changed, ours[kind], model), sender)
        for field in model._meta.many_to_many:
            through = field.remote_field.through
            self._listen(
                django_signals.m2m_changed, partial(_on_m2m_changed, ours["m2m_changed"], model, field), through
            )

    def _listen(self, signal: Any, receiver: Callable[..., object], sender: Any) -> None:
        signal.connect(receiver, sender=sender, weak=False, dispatch_uid=self._uid)
        self._connected.append((signal, sender))

    def dispose(self) -> None:
        """Leave Django's signals."""
        while self._connected:
            signal, sender = self._connected.pop()
            signal.disconnect(sender=sender, dispatch_uid=self._uid)

    def __getitem__(self, name: str) -> Signal[...]:
        return self._signals[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._signals)

    def __len__(self) -> int:
        return len(self._signals)

    def __repr__(self) -> str:
        return f"<DatabaseSignals {', '.join(self)}>"


def database_signals(*models: Any, prefix: str = "django") -> DatabaseSignals:
    """Let rxhub's signals tell of saves, deletions and memberships.

    For each model there are five, named `<prefix>.<app>.<model>.<kind>`. What they are sent with:

    `pre_save`, `post_save`: `model`, `pk`, `key`, `update_fields` (a sorted list, or None for all), `raw`, `using`, and
    `created` with `post_save`.

    `pre_delete`, `post_delete`: `model`, `pk`, `key`, `using`.

    `m2m_changed`, for each many-to-many field that the model has: `model`, `field`, `action` as Django has it
    (`pre_add`, `post_add`, `pre_remove`, `post_remove`, `pre_clear`, `post_clear`), `objects` (the primary keys of the
    model), `related_model` and `related` (the primary keys at the other end), `key` of the object in hand, `reverse`
    (whether it is one of the related) and `using`. `group.user_set.add(user)` tells the same as
    `user.groups.add(group)`; a `clear` tells who was cleared.

    Receivers that are connected to them are called in the thread and inside the transaction of whoever saves. Pipelines
    are too, unless they are busy in another thread, which then tells them afterwards; see `observe`.

    `key` is the natural key as a list (`["jane"]` for a user), None if the model has none. A primary key that JSON
    does not know is its text.

    Args:
        models: models, or their names such as `"studio.Role"`; the user model, `auth.Group` and `auth.Permission`
            unless any are given.
        prefix: what the signals' names begin with.

    Returns:
        The signals by `<app>.<model>.<kind>`; `dispose()` ends them.

    Raises:
        django.core.exceptions.AppRegistryNotReady: before `django.setup()`; `AppConfig.ready` is the place to call it.
        LookupError: if there is no model of this name.
    """
    return DatabaseSignals(models_of(models), prefix)


def models_of(models: Iterable[Any]) -> list[Any]:
    """The models of these names; those of users, groups and roles, if there are none."""
    apps = import_module("django.apps").apps
    named: list[Any] = list(models)
    if not named:
        auth: Any = import_module("django.contrib.auth")
        named = [auth.get_user_model(), "auth.Group", "auth.Permission"]
    return [apps.get_model(model) if isinstance(model, str) else model for model in named]


def _with_subclasses(model: Any) -> list[Any]:
    apps = import_module("django.apps").apps
    return [model, *(other for other in apps.get_models() if other is not model and issubclass(other, model))]


def _on_changed(ours: Signal[...], model: Any, *, sender: Any, instance: Any, using: str, **named: Any) -> None:
    if not ours.has_listeners(model):
        return
    data = {name: named[name] for name in ("created", "raw") if name in named}
    if "update_fields" in named:
        update_fields = named["update_fields"]
        data["update_fields"] = None if update_fields is None else sorted(update_fields)
    ours.send_robust(
        model, model=sender._meta.label_lower, pk=_json_value(instance.pk), key=_key(instance), using=using, **data
    )


def _on_m2m_changed(
    ours: Signal[...],
    owner: Any,
    field: Any,
    *,
    sender: Any,
    instance: Any,
    action: str,
    reverse: bool,
    pk_set: set[Any] | None,
    using: str,
    **_: Any,
) -> None:
    if not ours.has_listeners(owner):
        return
    if pk_set is None:
        others = _cleared(sender, field, instance, action, reverse, using)
    else:
        others = sorted(map(_json_value, pk_set), key=str)
    if not others:
        return
    this = [_json_value(instance.pk)]
    ours.send_robust(
        owner,
        model=owner._meta.label_lower,
        field=field.name,
        action=action,
        objects=others if reverse else this,
        related_model=field.related_model._meta.label_lower,
        related=this if reverse else others,
        key=_key(instance),
        reverse=reverse,
        using=using,
    )


def _cleared(through: Any, field: Any, instance: Any, action: str, reverse: bool, using: str) -> list[Any]:
    # Django does not say who is cleared, and afterwards nobody knows: it is asked before, and kept with the instance.
    name = f"_rxhub_cleared_{through._meta.label_lower}_{reverse}"
    if action == "post_clear":
        return instance.__dict__.pop(name, [])
    here, there = field.m2m_field_name(), field.m2m_reverse_field_name()
    if reverse:
        here, there = there, here
    rows = through._base_manager.using(using).filter(**{here: instance}).order_by(there)
    others = instance.__dict__[name] = [_json_value(pk) for pk in rows.values_list(there, flat=True)]
    return others


def _key(instance: Any) -> list[Any] | None:
    natural_key = getattr(instance, "natural_key", None)
    if natural_key is None:
        return None
    try:
        return [_json_value(part) for part in natural_key()]
    except Exception as error:  # noqa: BLE001 - an unsaved instance may lack what its key is made of
        logger.debug("A %s has no natural key yet: %s", instance._meta.label, error)
        return None


def _json_value(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (tuple, list)):
        return [_json_value(part) for part in value]  # pyright: ignore[reportUnknownVariableType]
    return str(value)
