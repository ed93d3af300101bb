"""Changes to users, groups and roles in Django's database as signals.

Django's signals pass the instance itself. These signals pass plain data: the primary key, the natural key (the
username) and the kind of change. Field values are never read, so password hashes cannot leak.

Django sends with the saved class as the sender, so proxies and subclasses of a model are connected too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from rxhub.signals.signal import Signal

__all__ = ["DatabaseSignals", "database_signals", "models_of"]

logger = logging.getLogger("rxhub")

_KINDS = ("pre_save", "post_save", "pre_delete", "post_delete", "m2m_changed")


class DatabaseSignals(Mapping[str, Signal[...]]):
    """The signals of some models, by name: `signals["auth.user.post_save"]`.

    They are sent with `send_robust`, so no receiver can break a save. The sender is the model.
    """

    def __init__(self, models: Iterable[Any], prefix: str) -> None:
        self._signals: dict[str, Signal[...]] = {}
        self._connected: list[tuple[Any, Any]] = []
        self._uid = object()
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
        """Disconnect from Django's signals."""
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
    """Send rxhub's signals on saves, deletions and changes of memberships.

    Each model has five signals, named `<prefix>.<app>.<model>.<kind>`: `pre_save`, `post_save`, `pre_delete`,
    `post_delete` and `m2m_changed`. They carry the data of the events in "Migrate from Django's signals"; primary keys
    that JSON does not support are converted to strings. Receivers run in the thread and the transaction that saves,
    pipelines as in `observe`.

    Args:
        models: models or their names, such as `"studio.Role"`. Default: the user model, `auth.Group` and
            `auth.Permission`.
        prefix: the prefix of the signal names.

    Returns:
        The signals by `<app>.<model>.<kind>`; `dispose()` ends them.

    Raises:
        django.core.exceptions.AppRegistryNotReady: before `django.setup()`; `AppConfig.ready` is the place to call it.
    """
    return DatabaseSignals(models_of(models), prefix)


def models_of(models: Iterable[Any]) -> list[Any]:
    """Look up models; default: users, groups and roles."""
    apps = import_module("django.apps").apps
    users = import_module("django.contrib.auth").get_user_model
    named = list(models) or [users(), "auth.Group", "auth.Permission"]
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


def _on_m2m_changed(ours: Signal[...], owner: Any, field: Any, *, sender: Any, instance: Any, **named: Any) -> None:
    if not ours.has_listeners(owner):
        return
    data = {name: named[name] for name in ("action", "reverse", "using")}
    if named["pk_set"] is None:
        others = _cleared(sender, field, instance, **data)
    else:
        others = sorted(map(_json_value, named["pk_set"]), key=str)
    if not others:
        return
    objects, related = [_json_value(instance.pk)], others
    if named["reverse"]:
        objects, related = related, objects
    ours.send_robust(
        owner,
        model=owner._meta.label_lower,
        field=field.name,
        objects=objects,
        related_model=field.related_model._meta.label_lower,
        related=related,
        key=_key(instance),
        **data,
    )


def _cleared(through: Any, field: Any, instance: Any, action: str, reverse: bool, using: str) -> list[Any]:
    # Django does not pass the cleared objects, so they are read before and stored with the instance.
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
    except Exception as error:  # noqa: BLE001 - an unsaved instance can lack fields of its key
        logger.debug("A %s has no natural key yet: %s", instance._meta.label, error)
        return None


def _json_value(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (tuple, list)):
        return [_json_value(part) for part in value]  # pyright: ignore[reportUnknownVariableType]
    return str(value)
