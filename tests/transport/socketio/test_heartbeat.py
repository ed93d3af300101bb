"""Whether the other end is still there, told by the clocks alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rxhub.transport.socketio.heartbeat import HeartbeatMonitor

WALL = 1_700_000_000.0


def test_silence_is_found_at_the_second_look() -> None:
    dog = HeartbeatMonitor(60, 0, WALL)
    assert dog.look(60, WALL + 60) == "" == dog.look(61, WALL + 61)
    assert dog.look(66, WALL + 66) == "nothing was heard from the server for 66 s"


def test_whoever_is_heard_between_two_looks_is_there() -> None:
    dog = HeartbeatMonitor(60, 0, WALL)
    assert dog.look(300, WALL + 300) == ""
    dog.heard(300)  # what lay there unread while this process was held up
    assert dog.look(305, WALL + 305) == ""


def test_a_look_that_comes_late_tells_of_this_process_and_not_of_the_peer() -> None:
    dog = HeartbeatMonitor(60, 0, WALL)
    assert dog.look(70, WALL + 70) == "" == dog.look(140, WALL + 140)  # suspended twice
    assert dog.look(210, WALL + 210) == ""
    assert dog.look(215, WALL + 215) == "nothing was heard from the server for 215 s"


def test_without_heartbeats_nobody_is_taken_for_gone() -> None:
    dog = HeartbeatMonitor(None, 0, WALL)
    assert dog.look(10_000, WALL + 10_000) == "" == dog.look(20_000, WALL + 20_000)
    assert dog.interval == 5


def test_a_computer_that_slept() -> None:
    dog = HeartbeatMonitor(60, 0, WALL)
    assert dog.look(5, WALL + 5) == ""
    # The monotonic clock stood still for an hour.
    assert dog.look(6, WALL + 3606) == "the computer slept for 3600 s"
    assert dog.look(7, WALL + 3607) == ""


def test_a_clock_that_is_set_back_is_no_sleep() -> None:
    dog = HeartbeatMonitor(60, 0, WALL)
    assert dog.look(5, WALL - 3600) == ""


@given(st.lists(st.floats(0.1, 29), max_size=20))
def test_a_peer_that_is_heard_in_time_is_never_given_up(pauses: list[float]) -> None:
    dog, now = HeartbeatMonitor(60, 0, WALL), 0.0
    for pause in pauses:
        now += pause
        assert dog.look(now, WALL + now) == ""
        now += pause
        dog.heard(now)


def test_short_heartbeats_are_looked_after_often() -> None:
    assert HeartbeatMonitor(1, 0, WALL).interval == 0.25 and HeartbeatMonitor(60, 0, WALL).interval == 5
