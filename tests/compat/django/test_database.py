from __future__ import annotations

import json
import logging

import pytest

from rxhub import Event, EventHub
from rxhub.compat.django import database_signals, publish_database_signals
from rxhub.errors import HubClosed

pytestmark = [
    pytest.mark.usefixtures("database"),
    pytest.mark.filterwarnings("ignore::rxhub.errors.NotHandledWarning"),  # the tests drain it by and by
]


@pytest.fixture
def hub():
    with EventHub() as hub:
        yield hub


@pytest.fixture
def published(hub):
    """The events that a hub received."""
    events = []
    hub.subscribe("topic=django.*", lambda event: events.append((event.topic, event.data)))

    def arrived():
        hub.drain()
        taken, events[:] = events[:], []
        return taken

    return arrived


@pytest.fixture
def disposed():
    """Disposes of its arguments at the end."""
    given = []
    yield lambda signals: given.append(signals) or signals
    for signals in given:
        signals.dispose()


@pytest.fixture
def told(disposed):
    """The emissions of the signals of the default models."""
    signals = disposed(database_signals())
    emissions = []
    for name, signal in signals.items():
        signal.connect(lambda signal, sender, name=name, **data: emissions.append((name, data)), weak=False)
    return emissions


def user(name="jane"):
    from django.contrib.auth.models import User

    return User.objects.create_user(name, password="a secret")


def test_a_save_arrives_as_an_event_of_the_hub(hub, published, disposed):
    signals = disposed(publish_database_signals(hub))
    jane = user()
    assert published() == [
        (
            "django.auth.user.pre_save",
            {
                "model": "auth.user",
                "pk": None,
                "key": ["jane"],
                "update_fields": None,
                "raw": False,
                "using": "default",
            },
        ),
        (
            "django.auth.user.post_save",
            {
                "model": "auth.user",
                "pk": jane.pk,
                "key": ["jane"],
                "created": True,
                "update_fields": None,
                "raw": False,
                "using": "default",
            },
        ),
    ]
    signals.dispose()
    user("joe")
    assert published() == []


def test_what_is_rolled_back_is_not_published(hub, published, disposed):
    from django.db import transaction

    disposed(publish_database_signals(hub))
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        user("never")
        raise ZeroDivisionError
    with transaction.atomic():
        user("jane")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            user("nor this")
            raise ZeroDivisionError
        assert published() == []
    assert [(topic, data["key"]) for topic, data in published()] == [
        ("django.auth.user.pre_save", ["jane"]),
        ("django.auth.user.post_save", ["jane"]),
    ]


def test_without_on_commit_it_is_published_at_once(hub, published, disposed):
    from django.db import transaction

    disposed(publish_database_signals(hub, prefix="django.now", on_commit=False))
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        user("jane")
        assert [topic for topic, _ in published()] == [
            "django.now.auth.user.pre_save",
            "django.now.auth.user.post_save",
        ]
        raise ZeroDivisionError


def test_the_transaction_of_the_database_that_was_written_counts(hub, published, disposed):
    from django.contrib.auth.models import User
    from django.db import transaction

    disposed(publish_database_signals(hub))
    with transaction.atomic("default"):
        User(username="old").save(using="archive")
        assert [data["using"] for _, data in published()] == ["archive", "archive"]


@pytest.mark.parametrize("on_commit", [True, False])
def test_a_hub_that_refuses_breaks_no_save(caplog, on_commit, disposed):
    from django.contrib.auth.models import User

    with EventHub(inbox=1, overflow="error") as full:
        full.publish(Event("the only place"))
        disposed(publish_database_signals(full, on_commit=on_commit))
        with caplog.at_level(logging.CRITICAL, "rxhub"), caplog.at_level(logging.CRITICAL, "django.db.backends.base"):
            user()
        full.drain()
    assert User.objects.count() == 1


@pytest.mark.parametrize("on_commit", [True, False])
def test_it_ends_with_the_hub(caplog, on_commit):
    from django.db import transaction
    from django.db.models import signals

    before = [len(signal.receivers) for signal in (signals.post_save, signals.m2m_changed)]
    with EventHub() as hub:
        ours = publish_database_signals(hub, on_commit=on_commit)
        assert len(signals.post_save.receivers) > before[0]
        with transaction.atomic():
            user("jane")
            hub.drain()
            hub.close()
    user("joe")
    assert [len(signal.receivers) for signal in (signals.post_save, signals.m2m_changed)] == before
    assert caplog.text == ""
    ours.dispose()


def test_a_closed_hub_can_be_told_of_nothing():
    from django.db.models import signals

    before = len(signals.post_save.receivers)
    hub = EventHub()
    hub.close()
    with pytest.raises(HubClosed, match="Create a new hub"):
        publish_database_signals(hub)
    assert len(signals.post_save.receivers) == before


def test_what_a_plugin_publishes_ends_with_the_plugin(hub, published):
    from django.contrib.auth.models import User

    def telling(hub):
        publish_database_signals(hub)

    for _ in range(2):
        hub.bootstrap([telling])
        User.objects.all().delete()
        published()
        user("jane")
        assert len(published()) == 2
        hub.teardown(["telling"])
        user("joe")
        assert published() == []


def test_the_same_call_again_changes_nothing(hub, published, disposed):
    from django.contrib.auth.models import User

    first = disposed(publish_database_signals(hub))
    assert publish_database_signals(hub) is first
    assert publish_database_signals(hub, "auth.Permission", "auth.Group", User) is first
    user("jane")
    assert len(published()) == 2
    first.dispose()
    again = disposed(publish_database_signals(hub))
    assert again is not first
    user("joe")
    assert len(published()) == 2


def test_another_call_takes_over_the_models_that_it_names(hub, published, disposed):
    from django.contrib.auth.models import Group, User
    from django.db import transaction

    first = disposed(publish_database_signals(hub, User, Group))
    second = disposed(publish_database_signals(hub, User, on_commit=False))
    with transaction.atomic():
        user("jane")
        Group.objects.create(name="lead")
        assert [topic for topic, _ in published()] == ["django.auth.user.pre_save", "django.auth.user.post_save"]
    assert [topic for topic, _ in published()] == ["django.auth.group.pre_save", "django.auth.group.post_save"]
    first.dispose()
    user("joe")
    assert len(published()) == 2
    second.dispose()
    user("jim")
    assert published() == []


def test_each_hub_is_told_on_its_own(hub, published, disposed):
    disposed(publish_database_signals(hub))
    with EventHub() as other:
        disposed(publish_database_signals(other))
        user("jane")
        assert other.drain() == 2
    assert len(published()) == 2


def test_no_secret_leaves(told, hub, published, disposed):
    disposed(publish_database_signals(hub))
    jane = user()
    jane.set_password("another secret")
    jane.save(update_fields=["password"])
    text = json.dumps([told, published()])
    assert jane.password not in text
    assert "pbkdf2" not in text
    assert "secret" not in text
    assert ["password"] in [data.get("update_fields") for _, data in told]


def test_deletions_are_told(told):
    jane = user()
    pk = jane.pk
    told.clear()
    jane.delete()
    assert told == [
        (name, {"model": "auth.user", "pk": pk, "key": ["jane"], "using": "default"})
        for name in ("auth.user.pre_delete", "auth.user.post_delete")
    ]


def test_memberships_read_the_same_from_both_ends(told):
    from django.contrib.auth.models import Group

    jane, joe = user("jane"), user("joe")
    editors = Group.objects.create(name="editors")
    told.clear()
    jane.groups.add(editors)
    editors.user_set.add(jane, joe)  # Jane is a member already
    editors.user_set.remove(joe)
    changes = [
        (name, data["field"], data["action"], data["objects"], data["related"], data["key"], data["reverse"])
        for name, data in told
    ]
    name = "auth.user.m2m_changed"
    assert changes == [
        (name, "groups", "pre_add", [jane.pk], [editors.pk], ["jane"], False),
        (name, "groups", "post_add", [jane.pk], [editors.pk], ["jane"], False),
        (name, "groups", "pre_add", [joe.pk], [editors.pk], ["editors"], True),
        (name, "groups", "post_add", [joe.pk], [editors.pk], ["editors"], True),
        (name, "groups", "pre_remove", [joe.pk], [editors.pk], ["editors"], True),
        (name, "groups", "post_remove", [joe.pk], [editors.pk], ["editors"], True),
    ]
    assert {data["related_model"] for _, data in told} == {"auth.group"}


def test_adding_a_member_twice_is_no_change(told):
    from django.contrib.auth.models import Group

    jane, editors = user(), Group.objects.create(name="editors")
    jane.groups.add(editors)
    told.clear()
    jane.groups.add(editors)
    assert told == []


def test_a_clear_tells_who_was_cleared(told):
    from django.contrib.auth.models import Group

    jane, joe = user("jane"), user("joe")
    editors, readers = Group.objects.create(name="editors"), Group.objects.create(name="readers")
    jane.groups.set([editors, readers])
    editors.user_set.add(joe)
    told.clear()
    jane.groups.clear()
    editors.user_set.clear()
    readers.user_set.clear()
    assert [(data["action"], data["objects"], data["related"]) for _, data in told] == [
        ("pre_clear", [jane.pk], [editors.pk, readers.pk]),
        ("post_clear", [jane.pk], [editors.pk, readers.pk]),
        ("pre_clear", [joe.pk], [editors.pk]),
        ("post_clear", [joe.pk], [editors.pk]),
    ]
    assert "_rxhub" not in str(vars(jane))


def test_groups_and_permissions_are_told(told):
    from django.contrib.auth.models import Group, Permission
    from django.contrib.contenttypes.models import ContentType

    editors = Group.objects.create(name="editors")
    content_type = ContentType.objects.get_for_model(Group)
    publish = Permission.objects.create(codename="publish", name="May publish", content_type=content_type)
    editors.permissions.add(publish)
    assert [
        (name, data["key"]) for name, data in told if "pre" not in name and "pre" not in data.get("action", "")
    ] == [
        ("auth.group.post_save", ["editors"]),
        ("auth.permission.post_save", ["publish", "auth", "group"]),
        ("auth.group.m2m_changed", ["editors"]),
    ]


def test_an_object_without_what_its_key_is_made_of_has_none(told):
    from django.contrib.auth.models import Permission
    from django.db import IntegrityError

    with pytest.raises(IntegrityError):
        Permission.objects.create(codename="publish", name="May publish")
    assert [(name, data["key"]) for name, data in told] == [("auth.permission.pre_save", None)]


def test_a_proxy_of_the_user_model_is_a_user(told):
    from studio.models import Artist

    Artist.objects.create(username="ann")
    assert [(name, data["model"]) for name, data in told] == [
        ("auth.user.pre_save", "studio.artist"),
        ("auth.user.post_save", "studio.artist"),
    ]


def test_roles_may_be_a_model_of_ones_own(hub, published, disposed):
    from studio.models import Role

    signals = disposed(publish_database_signals(hub, "studio.Role", prefix="django.studio.roles"))
    jane, lead = user(), Role.objects.create(name="lead")
    jane.roles.add(lead)
    assert [*signals] == [
        f"studio.role.{kind}" for kind in ("pre_save", "post_save", "pre_delete", "post_delete", "m2m_changed")
    ]
    assert [
        (topic.rpartition(".")[2], data.get("objects") or data["pk"], data["key"]) for topic, data in published()
    ] == [
        ("pre_save", str(lead.pk), None),
        ("post_save", str(lead.pk), None),
        ("m2m_changed", [str(lead.pk)], ["jane"]),
        ("m2m_changed", [str(lead.pk)], ["jane"]),
    ]


def test_a_subscription_chooses(hub, disposed):
    from django.contrib.auth.models import Group

    joined = []
    hub.on("topic=django.auth.user.m2m_changed and data.field=groups and data.action=post_add").subscribe(
        lambda event: joined.append(event.data["key"])
    )
    disposed(publish_database_signals(hub))
    user().groups.add(Group.objects.create(name="editors"))
    hub.drain()
    assert joined == [["jane"]]


def test_a_receiver_that_raises_breaks_no_save(caplog, disposed):
    from django.contrib.auth.models import User

    def fail(**named):
        raise ValueError("no")

    signals = disposed(database_signals(User))
    signals["auth.user.post_save"].connect(fail, sender=User)
    with caplog.at_level(logging.CRITICAL, "rxhub"):
        user()
    assert User.objects.count() == 1
    assert repr(signals).startswith("<DatabaseSignals auth.user.pre_save, ")


def test_a_model_that_does_not_exist_is_an_error():
    with pytest.raises(LookupError, match=r"Absent"):
        database_signals("studio.Absent")
