from __future__ import annotations

import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from rxhub.errors import UsersError
from rxhub.server.key_hash import Hash, hashed
from rxhub.server.users import User, UsersFile
from tests.threads import at_once

COMMENTED = """\
# the studio's users

[users."jane"]   # lead
key = "{hash}"
publish = [ "studio.*", # and more
  "ftrack.update" ]

# the farm
[users.farm]
key = '{hash}'
"""
HASH = hashed("secret")


def test_a_key_is_checked_against_its_salted_hash() -> None:
    one, other = hashed("secret"), hashed("secret")
    assert one != other
    assert "secret" not in one
    assert Hash(one).check("secret")
    assert not Hash(one).check("Secret")
    assert not Hash(one).check("")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "scrypt$16384$8$5$AAAA",
        "bcrypt$16384$8$5$AAAA$" + "A" * 24,
        "scrypt$16383$8$5$AAAA$" + "A" * 24,
        "scrypt$1073741824$8$5$AAAA$" + "A" * 24,
        "scrypt$16384$8$1000000$AAAA$" + "A" * 24,
        "scrypt$16384$8$5$AAAA$AAAA",
        "scrypt$16384$8$5$!$" + "A" * 24,
    ],
)
def test_what_is_no_hash_or_would_take_all_memory_is_refused(text: str) -> None:
    with pytest.raises(UsersError, match="rxhub user add"):
        Hash(text)


def test_a_key_that_was_checked_is_known_at_once_and_no_other() -> None:
    user = User("me", Hash(HASH))
    assert user.is_verified("secret") is False
    user.mark_verified("secret")
    assert user.is_verified("secret")
    assert user.is_verified("other") is False


def test_an_administrator_is_marked_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    UsersFile(path).add("root", admin=True)
    UsersFile(path).add("jane")
    assert {user.name: user.is_admin for user in UsersFile(path)} == {"root": True, "jane": False}
    path.write_text(path.read_text().replace("admin = true", 'admin = "yes"'))
    with pytest.raises(UsersError, match="must be true or false"):
        UsersFile(path)


def test_users_are_added_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    users = UsersFile(path)
    key = users.add("jane.doe@studio.com", publish=["studio.*"], subscribe=[])
    users.add("Zoë", key="chosen")
    again = UsersFile(path)
    assert [user.name for user in again] == ["jane.doe@studio.com", "Zoë"]
    jane, zoe = again
    assert jane.hash.check(key)
    assert zoe.hash.check("chosen")
    assert "studio.a" in jane.publish
    assert "other" not in jane.publish
    assert "studio.a" not in jane.subscribe
    assert "anything" in zoe.subscribe
    assert key not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again.remove("jane.doe@studio.com")
    assert [user.name for user in UsersFile(path)] == ["Zoë"]


def test_removing_a_user_from_a_file_that_does_not_exist_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsersError, match="'jane' does not exist"):
        UsersFile(tmp_path / "typo" / "users.toml").remove("jane")
    assert list(tmp_path.iterdir()) == []


def test_comments_and_what_else_people_write_stay(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    text = COMMENTED.format(hash=HASH)
    path.write_text(text)
    users = UsersFile(path)
    users.add("new")
    assert path.read_text().startswith(text)
    users.remove("new")
    assert path.read_text().rstrip() == text.rstrip()
    users.remove("jane")
    left = path.read_text()
    assert "# the studio's users" in left
    assert "[users.farm]" in left
    assert "jane" not in left


@pytest.mark.parametrize("name", ["", "a b", 'a"b', "a\\b", "a\nb", "a\udcff", "x" * 257])
def test_a_name_that_no_file_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsersError, match="name"):
        UsersFile(tmp_path / "users.toml").add(name)
    assert not (tmp_path / "users.toml").exists()


def test_a_second_user_of_a_name_and_one_who_is_not_there(tmp_path: Path) -> None:
    users = UsersFile(tmp_path / "users.toml")
    users.add("jane")
    with pytest.raises(UsersError, match="already"):
        users.add("jane")
    with pytest.raises(UsersError, match="The user 'bob' does not exist"):
        users.remove("bob")
    with pytest.raises(UsersError, match="rule"):
        users.add("bob", publish=["a*b"])
    with pytest.raises(UsersError, match="empty"):
        users.add("bob", key="")


def test_a_file_that_cannot_be_changed_safely_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    text = f'users = {{ jane = {{ key = "{HASH}" }} }}\n'
    path.write_text(text)
    users = UsersFile(path)
    with pytest.raises(UsersError, match="by hand"):
        users.remove("jane")
    with pytest.raises(UsersError, match="by hand"):
        users.add("bob")
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[users", "not valid TOML"),
        ("a = 1", "'a'"),
        ("users = 5", "tables"),
        ("[users.jane]", "no key"),
        ("[users.jane]\nkey = 5", "no key"),
        ("[users.jane]\nkey = 'secret'", "must have the form"),
        ("[users.jane]\nkey = 'HASH'\nrole = 1", "'role'"),
        ("[users.jane]\nkey = 'HASH'\npublish = 'a'", "list"),
        ("[users.jane]\nkey = 'HASH'\npublish = ['*a']", "exact"),
        ("[users.jane]\nkey = 'HASH'\nsubscribe = [5]", "exact"),
    ],
)
def test_a_file_with_a_mistake_says_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "users.toml"
    path.write_text(text.replace("HASH", HASH))  # not in the test's id: it is random
    with pytest.raises(UsersError, match=message):
        UsersFile(path)


def test_a_file_is_read_again_when_it_changes_and_a_broken_one_changes_nobody(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    writer = UsersFile(path)
    writer.add("jane", key="secret")
    users = UsersFile(path)
    jane = users.get("jane")
    assert jane is not None
    jane.mark_verified("secret")
    assert not users.refresh()
    writer.add("bob")
    assert users.refresh()
    assert {user.name for user in users} == {"jane", "bob"}
    after = users.get("jane")
    assert after is not None
    assert after.is_verified("secret")  # the key is the same
    path.write_text("[users")
    with pytest.raises(UsersError):
        users.refresh()
    path.unlink()
    with pytest.raises(UsersError, match="does not exist"):
        users.refresh()
    assert {user.name for user in users} == {"jane", "bob"}


def test_a_link_stays_a_link_and_the_servers_group_may_still_read(tmp_path: Path) -> None:
    real, link = tmp_path / "real.toml", tmp_path / "users.toml"
    link.symlink_to(real)
    UsersFile(link).add("jane", key="key")
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o600
    real.chmod(0o644)
    UsersFile(link).add("bob", key="key")
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert {user.name for user in UsersFile(real)} == {"jane", "bob"}


def test_a_file_is_tried_again_when_its_permissions_change(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    UsersFile(path).add("jane", key="key")
    users = UsersFile(path)
    path.chmod(0o640)
    assert users.refresh()
    assert not users.refresh()


WRITER = """
import sys
from rxhub.server.users import UsersFile
path, name = sys.argv[1:]
sys.stdin.readline()
for number in range(6):
    UsersFile(path).add(f"{name}-{number}", key="key")
    if number % 2:
        UsersFile(path).remove(f"{name}-{number}")
"""


def test_processes_that_change_the_file_at_the_same_time_lose_no_change(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(name), str(number)], stdin=subprocess.PIPE, text=True)
        for number, name in enumerate([path, path, link])
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    expected = {f"{writer}-{number}" for writer in range(3) for number in (0, 2, 4)}
    assert {user.name for user in UsersFile(path)} == expected
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(tmp_path.iterdir()) == [link, path]


def test_threads_that_change_the_file_at_the_same_time_lose_no_change(tmp_path: Path) -> None:
    users = UsersFile(tmp_path / "users.toml")
    users.add("leaves", key="key")
    at_once(
        lambda: users.remove("leaves"),
        *(partial(users.add, f"in-one-object-{number}", key="key") for number in range(4)),
        *(partial(UsersFile(tmp_path / "users.toml").add, f"{number}", key="key") for number in range(4)),
    )
    assert len(UsersFile(tmp_path / "users.toml")) == 8
    assert users.get("leaves") is None


def test_of_two_who_add_the_same_user_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    first, second = UsersFile(path), UsersFile(path)
    first.add("jane", key="first")
    with pytest.raises(UsersError, match="already"):
        second.add("jane", key="second")
    first.remove("jane")
    with pytest.raises(UsersError, match="The user 'jane' does not exist"):
        second.remove("jane")
    second.add("jane", key="second")
    assert first.refresh()
    jane = first.get("jane")
    assert jane is not None and jane.hash.check("second")


def test_a_writer_that_was_killed_holds_up_nobody_and_one_that_hangs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "users.toml"
    users = UsersFile(path)
    users.add("jane", key="key")
    script = (
        "import sys, time; from pathlib import Path; from rxhub.server.file_lock import locked\n"
        "with locked(Path(sys.argv[1]), 20): print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        monkeypatch.setattr("rxhub.server.users._LOCK_TIMEOUT_S", 0.2)
        with pytest.raises(UsersError, match="another process has locked it"):
            users.add("bob", key="key")
        assert {user.name for user in UsersFile(path)} == {"jane"}
        holder.kill()
    monkeypatch.setattr("rxhub.server.users._LOCK_TIMEOUT_S", 20.0)
    users.add("bob", key="key")
    assert {user.name for user in UsersFile(path)} == {"jane", "bob"}


def test_a_file_that_could_not_be_written_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "users.toml"
    monkeypatch.setattr("rxhub.server.users.mkstemp", fail)
    with pytest.raises(UsersError, match="No space left"):
        UsersFile(path).add("jane", key="key")
    assert not path.exists()
    path.touch(0o600)
    with pytest.raises(UsersError, match="No space left"):
        UsersFile(path).add("jane", key="key")
    assert path.exists()


def test_a_read_only_file_can_be_changed_by_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    UsersFile(path).add("jane", key="key")
    path.chmod(0o400)
    UsersFile(path).add("bob", key="key")
    assert {user.name for user in UsersFile(path)} == {"jane", "bob"}
