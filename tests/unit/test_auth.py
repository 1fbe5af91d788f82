from __future__ import annotations

import os
import stat
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_server.auth.security import passwd, passwd_check

from evstore.core.errors import Invalid
from evstore.services.auth import (
    COOKIE_AGE,
    Auth,
    Identity,
    Throttle,
    check_password,
    hash_password,
    load_secret,
    random_token,
)

SECRET = b"s" * 32
HASH = "sha1:0e112c3ddfce:a68df677475c2b47b6e86d0467eec97ac5f4b85a"  # of "mypassword", from jupyter_server


def auth(token: str = "T", password_hash: str = "", secret: bytes = SECRET) -> Auth:
    return Auth(token=token, password_hash=password_hash, secret=secret)


# -- the cookie ----------------------------------------------------------------------


def test_a_cookie_keeps_the_identity_over_a_restart_and_a_new_token():
    someone = Identity.anonymous()
    read = auth("another token").read(auth("T").sign(someone))
    assert read is not None
    assert read.identity == someone


@pytest.mark.parametrize(
    ("signer", "reader"),
    [
        (auth(secret=b"t" * 32), auth()),
        (auth(password_hash=HASH), auth()),
        (auth(password_hash=HASH), auth(password_hash=HASH + "0")),
        (auth(token=""), auth()),
    ],
    ids=["other secret", "password gone", "password changed", "from when everybody was let in"],
)
def test_a_cookie_of_another_key_is_worth_nothing(signer: Auth, reader: Auth):
    """CVE-2026-40934, S7."""
    assert reader.read(signer.sign(Identity.anonymous())) is None


def test_a_cookie_ends_after_thirty_days(monkeypatch: pytest.MonkeyPatch):
    cookie = auth().sign(Identity.anonymous())
    signed = auth().read(cookie)
    assert signed is not None
    serializer = "itsdangerous.timed.TimestampSigner.get_timestamp"
    monkeypatch.setattr(serializer, lambda _: int(signed.until) - 1)
    assert auth().read(cookie) is not None
    monkeypatch.setattr(serializer, lambda _: int(signed.until) + 2)
    assert auth().read(cookie) is None
    assert COOKIE_AGE == 30 * 24 * 3600


@given(st.text(max_size=200))
def test_no_text_is_taken_for_a_cookie(text: str):
    assert auth().read(text) is None


def test_every_changed_byte_breaks_the_signature():
    cookie = auth().sign(Identity.anonymous())
    for index in range(len(cookie) - 1):  # the last character holds bits that base64 does not use
        changed = cookie[:index] + ("A" if cookie[index] != "A" else "B") + cookie[index + 1 :]
        assert auth().read(changed) is None, index


def test_a_signed_cookie_with_other_fields_names_nobody():
    """A later evstore may write other fields with the same key."""
    signer = auth()._signer  # pyright: ignore[reportPrivateUsage]
    for payload in (b'{"username": "x", "species": "cat"}', b'["x"]', b"5", b"no JSON", b""):
        cookie = signer.sign(urlsafe_b64encode(payload)).decode()
        assert auth().read(cookie) is None, payload
    assert auth().read(signer.sign(b"no base64!").decode()) is None


def test_a_cookie_needs_no_quoting():
    assert all(char.isalnum() or char in "-_.=" for char in auth().sign(Identity.anonymous()))


# -- token and password --------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "given_token", "right"),
    [
        ("T", "T", True),
        ("T", "t", False),
        ("T", "", False),
        ("", "", False),
        ("T", "T ", False),
        ("ключ", "ключ", True),
        ("T", "\udc80", False),
    ],
)
def test_token(token: str, given_token: str, right: bool):
    assert auth(token).is_token(given_token) is right


@pytest.mark.parametrize(
    ("password_hash", "right", "wrong"),
    [
        (hash_password("łe¶ŧ←↓→"), "łe¶ŧ←↓→", "łe"),
        (hash_password("x").removeprefix("argon2:"), "x", "X"),
        (HASH, "mypassword", "otherpassword"),
        (passwd("peer", "argon2"), "peer", ""),
        (passwd("peer", "sha256"), "peer", "peer "),
        (
            "argon2:$argon2id$v=19$m=10240,t=10,p=8$qjjDiZUofUVVnrVYxacnbA$l5pQq1bJ8zglGT2uXP6iOg",
            "łe¶ŧ←↓→",
            "\udc80",
        ),
    ],
    ids=["ours", "without the prefix", "sha1", "argon2 of Jupyter", "sha256 of Jupyter", "of an old Jupyter"],
)
def test_password_hashes_of_jupyter(password_hash: str, right: str, wrong: str):
    """S6: argon2, and the older `algorithm:salt:digest`."""
    assert check_password(password_hash, right)
    assert not check_password(password_hash, wrong)
    assert not check_password(password_hash, password_hash)


@pytest.mark.parametrize(
    "broken", ["", "x", "a:b", "a:b:c", "sha1:salt:", "argon2:", "argon2:$argon2id$v=19$"]
)
def test_a_broken_hash_lets_nobody_in(broken: str):
    assert not check_password(broken, "")
    assert not auth(token="", password_hash=broken).is_password("")


def test_jupyter_server_knows_our_hashes():
    assert passwd_check(hash_password("secret"), "secret")


def test_tokens_differ():
    assert len({random_token() for _ in range(100)}) == 100
    assert len(random_token()) == 48


# -- the secret file -----------------------------------------------------------------


def test_the_secret_is_made_once_and_for_the_owner_only(tmp_path: Path):
    """S18."""
    old = os.umask(0)
    try:
        secret = load_secret(tmp_path / "secret")
    finally:
        os.umask(old)
    assert len(secret) == 32
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert load_secret(tmp_path / "secret") == secret
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_secret_that_others_could_know_is_none(tmp_path: Path, mode: int):
    """As git and archives leave it that came with a folder from somebody else."""
    secret = load_secret(tmp_path / "secret")
    (tmp_path / "secret").chmod(mode)
    new = load_secret(tmp_path / "secret")
    assert new != secret
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert load_secret(tmp_path / "secret") == new


def test_a_secret_elsewhere_is_none(tmp_path: Path):
    elsewhere = load_secret(tmp_path / "elsewhere")
    (tmp_path / "secret").symlink_to(tmp_path / "elsewhere")
    assert load_secret(tmp_path / "secret") != elsewhere
    assert load_secret(tmp_path / "elsewhere") == elsewhere


def test_a_truncated_secret_is_made_anew(tmp_path: Path):
    (tmp_path / "secret").write_bytes(b"short")
    assert len(load_secret(tmp_path / "secret")) == 32


# -- identities ----------------------------------------------------------------------


def test_the_anonymous_are_different_people():
    someone, other = Identity.anonymous(), Identity.anonymous()
    assert someone.username != other.username
    assert someone.name.startswith("Anonymous ")
    assert someone.initials == f"A{someone.name.removeprefix('Anonymous ')[0]}"


@pytest.mark.parametrize(
    "changes",
    [
        {"username": "root"},
        {"nonsense": "x"},
        {"name": 5},
        {"name": ""},
        {"display_name": ""},
        {"name": None},
        {"avatar_url": "x" * 513},
    ],
)
def test_an_identity_refuses(changes: dict[str, object]):
    with pytest.raises(Invalid):
        Identity.anonymous().updated(changes)


def test_an_identity_changes():
    someone = Identity.anonymous().updated({"name": "Ada", "color": "#123456"})
    assert (someone.name, someone.color) == ("Ada", "#123456")


# -- slowing down guesses ------------------------------------------------------------


def test_after_too_many_failures_an_address_waits_and_others_do_not():
    throttle = Throttle(tries=3, window=60)
    for now in (0, 10, 20):
        assert throttle.wait("a", now) == 0
        throttle.failed("a", now)
    assert throttle.wait("a", 20) == 40
    assert throttle.wait("b", 20) == 0
    assert throttle.wait("a", 59) == 1
    assert throttle.wait("a", 60) == 0


def test_a_right_password_clears_the_account():
    throttle = Throttle(tries=1)
    throttle.failed("a", 0)
    assert throttle.wait("a", 1) > 0
    throttle.forget("a")
    assert throttle.wait("a", 1) == 0


def test_failures_are_forgotten_with_time_and_number():
    throttle = Throttle(tries=1, window=60, max_addresses=2)
    for address in "abc":
        throttle.failed(address, 0)
    assert throttle.wait("a", 0) == 0
    assert throttle.wait("c", 0) == 60
    assert throttle.wait("c", 61) == 0


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=60))
def test_nobody_gets_more_tries_in_a_window_than_allowed(steps: list[tuple[float, bool]]):
    throttle = Throttle(tries=3, window=10)
    now, tried = 0.0, list[float]()
    for pause, _ in steps:
        now += pause
        if throttle.wait("a", now) == 0:
            throttle.failed("a", now)
            tried.append(now)
            assert len([at for at in tried if at > now - 10]) <= 3
