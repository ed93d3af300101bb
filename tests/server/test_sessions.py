from __future__ import annotations

from rxhub.server.sessions import Sessions
from rxhub.transport.socketio.protocol import Handshake
from tests.server.test_rate_limit import Clock


def test_an_id_is_good_once_and_for_its_user() -> None:
    sessions = Sessions()
    mine, yours = sessions.issue("me"), sessions.issue("you")
    assert (sessions.redeem(yours), sessions.redeem(mine)) == ("you", "me")
    assert sessions.redeem(mine) is None
    assert sessions.redeem("made up") is None


def test_an_id_expires() -> None:
    clock = Clock()
    sessions = Sessions(expiry=30, clock=clock)
    old = sessions.issue("me")
    clock.now += 29
    young = sessions.issue("me")
    clock.now += 1
    assert len(sessions) == 1
    assert sessions.redeem(old) is None
    assert sessions.redeem(young) == "me"


def test_there_are_never_more_than_so_many() -> None:
    sessions = Sessions(most=3)
    first, *later = [sessions.issue("me") for _ in range(4)]
    assert len(sessions) == 3
    assert sessions.redeem(first) is None
    assert all(sessions.redeem(sid) for sid in later)


def test_ids_cannot_be_guessed_and_fit_a_handshake() -> None:
    sessions = Sessions()
    ids = {sessions.issue("me") for _ in range(1_000)}
    assert len(ids) == 1_000
    for sid in ids:
        assert len(sid) == 43  # 256 bits
        assert Handshake.parse(Handshake(sid).format()).sid == sid
