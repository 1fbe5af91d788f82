"""Which log is meant by what a person types, and which path in it: as the shell sees files, and as git finds its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evstore.cli.path_args import Place, Typed
from evstore.core.errors import NotFound


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """`notebooks` and `notebooks/nested` have logs, `bare` has none, `elsewhere` one in another place; `link` leads to `notebooks`."""
    home = tmp_path.resolve()
    for served in ("notebooks", "notebooks/nested"):
        (home / served / ".evstore").mkdir(parents=True)
        (home / served / ".evstore" / "log.db").touch()
    for folder in ("notebooks/work/deep", "bare", "elsewhere/.evstore", "elsewhere/sub"):
        (home / folder).mkdir(parents=True)
    (home / "elsewhere" / ".evstore" / "folder").touch()
    (home / "link").symlink_to(home / "notebooks")
    return home


@pytest.mark.parametrize(
    ("start", "typed", "top", "path"),
    [
        ("notebooks", ".", "notebooks", ""),
        ("notebooks", "a.txt", "notebooks", "a.txt"),
        ("notebooks", "/", "notebooks", ""),
        ("notebooks", "/a.txt", "notebooks", "a.txt"),
        ("notebooks", "./work/../a.txt", "notebooks", "a.txt"),
        ("notebooks", "work/gone/long.ago", "notebooks", "work/gone/long.ago"),
        ("notebooks", ".hidden", "notebooks", ".hidden"),
        ("notebooks/work/deep", ".", "notebooks", "work/deep"),
        ("notebooks/work/deep", "a.txt", "notebooks", "work/deep/a.txt"),
        ("notebooks/work/deep", "../../a.txt", "notebooks", "a.txt"),
        ("notebooks/work/deep", "/", "notebooks", ""),
        ("notebooks/work/deep", "/work", "notebooks", "work"),
        ("notebooks/work", "HOME/notebooks", "notebooks", ""),
        ("bare", "../notebooks/work/a.txt", "notebooks", "work/a.txt"),
        ("bare", "HOME/notebooks/work", "notebooks", "work"),
        ("bare", "HOME/link/work", "notebooks", "work"),
        ("notebooks", "HOME/link/work", "notebooks", "work"),
        ("notebooks", "nested", "notebooks/nested", ""),
        ("notebooks", "nested/a.txt", "notebooks/nested", "a.txt"),
        ("bare", "a.txt", "bare", "a.txt"),
        ("bare", ".", "bare", ""),
    ],
)
def test_what_is_meant(home: Path, start: str, typed: str, top: str, path: str) -> None:
    wish = Typed(typed.replace("HOME", str(home)))
    place = Place.find(home / start, None, wish)
    assert (place.top, place.db) == (home / top, home / top / ".evstore" / "log.db")
    assert place.path(wish) == path


def test_without_a_path(home: Path) -> None:
    place = Place.find(home / "notebooks" / "work", None, None)
    assert (place.top, place.path(Typed("a.txt"))) == (home / "notebooks", "work/a.txt")


def test_what_is_outside(home: Path) -> None:
    place = Place.find(home / "notebooks", None, Typed("../a.txt"))
    with pytest.raises(NotFound, match=r"^\.\./a\.txt is not in "):
        place.path(Typed("../a.txt"))


def test_a_log_elsewhere(home: Path) -> None:
    """What is typed is seen from the folder that is served, or else from where one is."""
    db = home / "other.db"
    place = Place.find(home / "elsewhere" / "sub", db, Typed("a.txt"))
    assert (place.db, place.top, place.path(Typed("a.txt"))) == (db, home / "elsewhere", "sub/a.txt")
    place = Place.find(home / "bare", db, Typed("a.txt"))
    assert (place.db, place.top, place.path(Typed("a.txt"))) == (db, home / "bare", "a.txt")


def test_a_log_that_somebody_else_has_put_above(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert Place.find(home / "notebooks" / "work", None, None).top == home / "notebooks" / "work"
    assert Place.find(home / "notebooks", None, None).top == home / "notebooks"
