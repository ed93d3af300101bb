"""Topics as NATS subjects, and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub import Event
from rxhub.errors import EventError
from rxhub.expression import parse
from rxhub.hub.replies import address
from rxhub.transport.nats.subjects import REPLY, Subjects, consumer_name
from tests.transport.nats.matching import is_subject

studio = Subjects("studio")

# Whatever a text can hold in UTF-8, and what NATS gives a meaning to more often than chance would.
texts = st.text(st.characters(codec="utf-8"), max_size=60)
topics = texts | st.lists(
    st.sampled_from(
        ["", " ", "*", ">", "%", "%%", "%2E", "%61", "a", "A", "é", "\0", "\r\n", "\t", "\u2028", "\x7f", "$JS"]
    )
    | texts,
    max_size=6,
).map(".".join)
groups = topics | st.sampled_from(["ingest", "ingest--x", "render-farm", "", "-", "--", "a/b\\c", "x" * 100, "x" * 101])


def of_group(subjects: Subjects, kind: str, group: str, topic: str) -> str:
    """The subject of a dead letter, or of a retried one."""
    tokens = subjects.event(topic).removeprefix(f"{subjects.stream}.event.")
    return f"{subjects.stream}.{kind}.{consumer_name(group)}.{tokens}"


@given(topics)
def test_a_topic_comes_back_from_its_subject_exactly(topic: str) -> None:
    assert studio.topic(studio.event(topic)) == topic


@given(topics, groups)
def test_a_dead_letter_tells_its_topic_on_either_way(topic: str, group: str) -> None:
    assert studio.topic(of_group(studio, "retry", group, topic)) == topic
    assert studio.topic(of_group(studio, "dead", group, topic)) == topic


@given(topics, groups)
def test_every_subject_is_one_that_nats_takes(topic: str, group: str) -> None:
    letters = [of_group(studio, kind, group, topic) for kind in ("retry", "dead")]
    for subject in (studio.event(topic), studio.reply(topic), *letters):
        assert is_subject(subject), subject


@given(topics)
def test_a_subject_has_as_many_tokens_as_its_topic(topic: str) -> None:
    assert studio.event(topic).count(".") == topic.count(".") + 2


@given(topics, topics)
def test_different_topics_and_ids_have_different_subjects(one: str, other: str) -> None:
    assert (studio.event(one) == studio.event(other)) == (one == other)
    assert (studio.reply(one) == studio.reply(other)) == (one == other)


def test_a_plain_topic_can_be_read_in_its_subject() -> None:
    assert studio.event("ftrack.update") == "studio.event.ftrack.update"
    assert studio.event("a b..*.é") == "studio.event.a%20b.%.%2A.%C3%A9"
    assert studio.reply("4f1c") == "studio.reply.4f1c"
    assert (studio.retries_of("ingest"), studio.dead_of("ingest")) == ("studio.retry.ingest.>", "studio.dead.ingest.>")


@given(
    st.text(max_size=12)
    | st.lists(st.sampled_from(["studio", "event", "reply", "dead", "a", "%", "%61", "%2a", "%zz", "%C3", ""])).map(
        ".".join
    )
)
def test_a_subject_that_no_topic_has_is_refused(subject: str) -> None:
    try:
        topic = studio.topic(subject)
    except EventError:
        return
    assert subject.startswith("studio.reply.") or subject.endswith(studio.event(topic).removeprefix("studio.event."))


@pytest.mark.parametrize(
    "subject",
    [
        *("", "studio", "studio.event", "studio.retry.g", "studio.reply.a.b", "studio.dead.g"),
        *("other.event.a", "studio.event.%61", "studio.event.%c3%a9", "studio.event.a..b", "studio.event.%C3"),
    ],
)
def test_what_is_written_otherwise_is_no_subject_of_ours(subject: str) -> None:
    with pytest.raises(EventError, match="does not encode a topic"):
        studio.topic(subject)


@pytest.mark.parametrize("topic", ["a\ud800", "\udfff", "a.b\udc00.c"])
def test_half_a_character_is_refused(topic: str) -> None:
    for subject in (studio.event, studio.reply):
        with pytest.raises(EventError, match="lone surrogate"):
            subject(topic)


@pytest.mark.parametrize("topic", [None, 5, b"a", ["a"]])
def test_what_is_no_text_is_refused(topic: object) -> None:
    event = Event("a")
    event["topic"] = topic
    with pytest.raises(EventError, match="must be a string"):
        studio.of(event)


def test_a_subject_is_as_long_as_a_control_line_has_room_for() -> None:
    room = 3_000 - len("studio.event.")
    assert len(studio.event("a" * room)) == 3_000
    for topic in ("a" * (room + 1), "é" * 600, "." * 2_000):
        with pytest.raises(EventError, match=r"too long: it makes a subject of .* no more than 3,000"):
            studio.event(topic)


@given(topics)
def test_a_reply_goes_to_its_asker_alone(asker: str) -> None:
    try:
        reply = Event(REPLY, target=address(asker))
    except EventError:
        return  # no target denotes this id
    assert studio.of(reply) == studio.reply(asker)


@pytest.mark.parametrize(
    "target",
    [
        *("", "id=", "id", "(", "id=a*", "id=*a", "id!=a", "id>a", "not id=a", "user=a", "a.id=b"),
        *("id=a or id=b", "id=a and user=b", "id in (a, b)"),
    ],
)
def test_a_reply_to_anybody_else_is_an_event_like_others(target: str) -> None:
    assert studio.of(Event(REPLY, target=target)) == "studio.event.ftrack.meta.reply"


def test_an_event_that_is_no_reply_is_found_by_its_topic_whatever_its_target() -> None:
    assert studio.of(Event("ftrack.update", target="id=a")) == "studio.event.ftrack.update"


@given(st.text(max_size=8) | st.sampled_from(["id=a", "id='a'", ' id = "a b" ', "id in (a)", "id=5", "id=true"]))
def test_who_has_the_subject_of_a_reply_is_who_its_target_matches(target: str) -> None:
    subject = studio.of(Event(REPLY, target=target))
    if subject.startswith("studio.reply."):
        ids = ["a", "a b", "5", "true", target]
        assert [id for id in ids if studio.reply(id) == subject] == [
            id for id in dict.fromkeys(ids) if parse(target).matches({"id": id})
        ]


@pytest.mark.parametrize("name", ["", "a.b", "a b", "*", "é", "a/b", "x" * 101, "events\n", None, 5])
def test_a_stream_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        Subjects(name)


def test_the_name_of_a_stream_is_not_that_of_the_dead_letters_of_another() -> None:
    assert studio.dead_stream == "studio-dead"
    with pytest.raises(ValueError, match="dead letters of the stream 'studio'"):
        Subjects(studio.dead_stream)


@given(st.text(max_size=300) | groups)
def test_a_group_of_any_name_has_one_that_nats_takes_everywhere(group: str) -> None:
    assert re.fullmatch("[A-Za-z0-9_-]{1,128}", consumer_name(group))


@given(st.lists(st.text(max_size=8) | groups, unique=True))
def test_two_groups_never_share_a_name(named: list[str]) -> None:
    names = [consumer_name(group) for group in named]
    assert len(set(names)) == len(names)
    # Not even if a group is called by the name of another.
    again = [consumer_name(name) for name in names if name not in named]
    assert not set(again) & set(names) - set(named) - {name for name in names if consumer_name(name) == name}


@pytest.mark.parametrize("group", ["ingest", "render-farm", "thumbnails_2", "A"])
def test_a_plain_group_keeps_its_name(group: str) -> None:
    assert consumer_name(group) == group
