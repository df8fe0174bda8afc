from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from datetime import UTC, datetime, timedelta

import pytest

from service import keys
from service.keys import KeyRing, KeysError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.json"


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_a_key_is_found_by_its_secret_and_nothing_else(path):
    token = keys.create(path, "shop", scopes=["search"])
    ring = KeyRing(path)
    found = ring.find(token)
    assert (found.id, found.scopes) == ("shop", {"search"})
    prefix, key_id, secret = token.split("_", 2)
    wrong = ["", "shop", secret, key_id, token[:-1], token + "x", token.upper(), found.sha256, "é\udcff"]
    wrong += [f"other_{key_id}_{secret}", f"{prefix}_nobody_{secret}", f"{prefix}_{key_id}_", f"{prefix}_{key_id}"]
    assert [ring.find(one) for one in wrong] == [None] * len(wrong)


def test_a_secret_has_256_bits_and_is_nowhere_in_the_file(path):
    tokens = {keys.create(path, f"k{i}", scopes=["search"]) for i in range(20)}
    text = path.read_text()
    for token in tokens:
        assert len(token.split("_", 2)[2]) >= 43  # 256 bits in base 64
        assert token not in text
        assert token.split("_", 2)[2] not in text
        assert hashlib.sha256(token.encode()).hexdigest() in text
    assert len({token.split("_", 2)[2] for token in tokens}) == 20


def test_the_file_is_its_owners_alone_whatever_the_umask(path):
    before = os.umask(0)
    try:
        keys.create(path, "a", scopes=["search"])
        keys.revoke(path, "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["keys.json"]


def test_several_keys_are_valid_at_once_until_one_is_revoked(path):
    old, new = (keys.create(path, name, scopes=["search"]) for name in ("old", "new"))
    clock = Clock()
    ring = KeyRing(path, clock=clock)
    assert ring.find(old)
    assert ring.find(new)
    keys.revoke(path, "old")
    clock.now += 1.0
    assert ring.find(old) is None
    assert ring.find(new)


def test_a_new_key_is_known_within_a_second(path):
    keys.create(path, "a", scopes=["search"])
    clock = Clock()
    ring = KeyRing(path, clock=clock)
    token = keys.create(path, "b", scopes=["search"])
    clock.now += 1.0
    assert ring.find(token)


def test_an_expired_key_opens_nothing(path):
    past = datetime.now(UTC) - timedelta(seconds=1)
    token = keys.create(path, "a", scopes=["search"], expires=past)
    later = keys.create(path, "b", scopes=["search"], expires=past + timedelta(hours=1))
    ring = KeyRing(path)
    assert ring.find(token) is None
    assert ring.find(later)


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_text("{"), os.rmdir])
def test_a_file_that_breaks_while_it_serves_leaves_the_keys_as_they_were(path, spoil):
    token = keys.create(path, "a", scopes=["search"])
    clock = Clock()
    ring = KeyRing(path, clock=clock)
    if spoil is os.rmdir:
        path.unlink()
        path.mkdir()
    else:
        spoil(path)
    clock.now += 1.0
    assert ring.find(token)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"format": 2}', '{"keys": [{"id": "a"}]}', '{"keys": [], "more": 1}'],
)
def test_what_is_no_file_of_keys_is_refused_at_the_start(path, text):
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeysError, match="is no file of keys"):
        KeyRing(path)


def test_a_file_that_is_not_there_is_refused_with_what_makes_one(path):
    with pytest.raises(KeysError, match="saddle keys create"):
        KeyRing(path)


def test_a_file_that_others_may_write_is_refused(path):
    keys.create(path, "a", scopes=["search"])
    path.chmod(0o620)
    with pytest.raises(KeysError, match=r"620.*chmod 600"):
        KeyRing(path)


def test_two_keys_of_one_id_are_refused(path):
    keys.create(path, "a", scopes=["search"])
    file = json.loads(path.read_text())
    path.write_text(json.dumps({**file, "keys": file["keys"] * 2}))
    with pytest.raises(KeysError, match="2 keys, but only 1"):
        keys.read(path)


@pytest.mark.parametrize("key_id", ["", "A", "a b", "-a", "a_b", "x" * 33, "é", "a\n"])
def test_an_id_that_would_not_read_well_is_refused(path, key_id):
    with pytest.raises(KeysError, match="the id"):
        keys.create(path, key_id, scopes=["search"])
    assert not path.exists()


def test_an_id_is_never_used_again(path):
    keys.create(path, "a", scopes=["search"])
    keys.revoke(path, "a")
    with pytest.raises(KeysError, match="already"):
        keys.create(path, "a", scopes=["search"])


def test_revoking_names_what_there_is(path):
    keys.create(path, "a", scopes=["search"])
    with pytest.raises(KeysError, match="no key 'b'; it has: a"):
        keys.revoke(path, "b")


@pytest.mark.parametrize("told", [{"scopes": []}, {"scopes": ["all"]}, {"scopes": ["search"], "rate": 0.0}])
def test_a_key_that_makes_no_sense_is_not_made(path, told):
    with pytest.raises(KeysError, match=r"scopes|rate"):
        keys.create(path, "a", **told)


def test_keys_made_at_the_same_time_are_all_kept(path):
    threads = [
        threading.Thread(target=keys.create, args=(path, f"k{i}"), kwargs={"scopes": ["search"]}) for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.id for key in keys.read(path)} == {f"k{i}" for i in range(8)}
