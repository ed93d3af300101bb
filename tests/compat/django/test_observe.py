from __future__ import annotations

import logging
import threading

import pytest
from reactivex import operators as ops

from rxhub import where
from rxhub.compat.django import Signal, observe
from tests.threads import LIMIT

pytestmark = pytest.mark.usefixtures("database")


def test_a_save_is_seen_by_a_pipeline():
    from django.db.models.signals import post_save
    from studio.models import Shot

    names = []
    created = observe(post_save).pipe(where("sender=Shot and created=true"), ops.map(lambda e: e["instance"].name))
    with created.subscribe(names.append):
        Shot.objects.create(name="sh010").save()
    Shot.objects.create(name="sh020")
    assert names == ["sh010"]


def test_it_connects_for_the_first_and_leaves_with_the_last():
    from django.db.models.signals import post_save

    before = len(post_save.receivers)
    observed = observe(post_save)
    assert len(post_save.receivers) == before
    one, two = observed.subscribe(), observed.subscribe()
    assert len(post_save.receivers) == before + 1
    one.dispose()
    one.dispose()
    assert len(post_save.receivers) == before + 1
    two.dispose()
    assert len(post_save.receivers) == before
    with observed.subscribe():
        assert len(post_save.receivers) == before + 1


def test_each_observable_stands_for_itself():
    from django.dispatch import Signal as Djangos

    signal, seen = Djangos(), []
    with observe(signal).subscribe(lambda _: seen.append(1)), observe(signal).subscribe(lambda _: seen.append(2)):
        signal.send(None)
    assert seen == [1, 2]


def test_a_sender_may_be_chosen():
    from django.dispatch import Signal as Djangos

    signal, seen = Djangos(), []
    with observe(signal, sender=int).subscribe(lambda e: seen.append((e.sender, dict(e)))):
        signal.send(int, n=1)
        signal.send(str, n=2)
    assert seen == [(int, {"n": 1})]


def test_an_observer_that_raises_breaks_neither_the_save_nor_the_others(caplog):
    from django.db.models.signals import pre_save
    from studio.models import Shot

    seen = []

    def fail(emission):
        raise ValueError("no")

    observed = observe(pre_save)
    with caplog.at_level(logging.CRITICAL, "rxhub"), observed.subscribe(fail), observed.subscribe(seen.append):
        Shot.objects.create(name="sh010")
    assert len(seen) == 1


def test_a_signal_of_ours_is_observed_in_its_order():
    signal, seen = Signal(), []
    signal.connect(lambda **named: seen.append("receiver"), weak=False)
    with observe(signal).subscribe(lambda _: seen.append("pipeline")):
        signal.send(None)
    assert seen == ["receiver", "pipeline"]


def test_it_has_the_name_that_its_module_gives():
    from django.db.models.signals import m2m_changed

    assert repr(observe(m2m_changed)) == "<emissions of Django's m2m_changed>"


def test_a_pipeline_that_is_busy_in_another_thread_is_told_by_that_thread_and_a_receiver_is_not():
    from django.dispatch import Signal as Djangos

    signal, busy, done = Djangos(), threading.Event(), threading.Event()
    pipeline, receiver = [], []

    def work(emission):
        pipeline.append((emission["n"], threading.get_ident()))
        busy.set()
        done.wait(LIMIT)

    def inside(n, **_):
        receiver.append((n, threading.get_ident()))

    signal.connect(inside)
    with observe(signal).subscribe(work):
        other = threading.Thread(target=signal.send, args=(None,), kwargs={"n": 1})
        other.start()
        assert busy.wait(LIMIT)
        signal.send(None, n=2)
        here, there = threading.get_ident(), other.ident
        assert [n for n, _ in pipeline] == [1]
        done.set()
        other.join(LIMIT)
    assert pipeline == [(1, there), (2, there)]
    assert sorted(receiver) == [(1, there), (2, here)]
