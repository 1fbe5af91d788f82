"""The names that the server picks, as Jupyter numbers them."""

from __future__ import annotations

import pytest

from evstore.core import naming
from evstore.core.errors import Invalid, NotFound
from evstore.core.paths import ContentPath, check_name


@pytest.mark.parametrize(
    ("name", "insert", "taken", "free"),
    [
        ("Untitled.ipynb", "", [], "Untitled.ipynb"),
        ("Untitled.ipynb", "", ["Untitled.ipynb"], "Untitled1.ipynb"),
        ("Untitled.ipynb", "", ["Untitled.ipynb", "Untitled1.ipynb"], "Untitled2.ipynb"),
        ("Untitled Folder", " ", ["Untitled Folder"], "Untitled Folder 1"),
        ("x.tar.gz", "-Copy", ["x.tar.gz"], "x-Copy1.tar.gz"),
        ("a.b.ipynb", "-Copy", ["a.b.ipynb"], "a.b-Copy1.ipynb"),
        ("untitled.foo.bar", "", ["untitled.foo.bar"], "untitled1.foo.bar"),
    ],
)
def test_first_free(name: str, insert: str, taken: list[str], free: str) -> None:
    assert naming.first_free(name, taken.__contains__, insert=insert) == free


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("a-Copy1.ipynb", "a.ipynb"),
        ("x-Copy2", "x"),
        ("x-Copy.txt", "x.txt"),
        ("a.txt", "a.txt"),
        ("-Copy1", "-Copy1"),
        ("-Copy1.txt", "-Copy1.txt"),
    ],
)
def test_copy_of(name: str, base: str) -> None:
    assert naming.copy_of(name) == base


@pytest.mark.parametrize(
    ("raw", "path"),
    [("/a/b/", "a/b"), ("", ""), ("/", ""), ("a//b", "a/b"), ("a b%", "a b%"), ("e\u0301", "e\u0301")],
)
def test_paths_are_normalised_but_names_are_not(raw: str, path: str) -> None:
    assert ContentPath.parse(raw) == path


@pytest.mark.parametrize("raw", ["..", "a/../b", "./a", "a\0b", "/..", "a\ud800"])
def test_paths_that_can_never_exist(raw: str) -> None:
    with pytest.raises(NotFound):
        ContentPath.parse(raw)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "x" * 256, "é" * 128, "\ud800"])
def test_names_that_are_not_allowed(name: str) -> None:
    with pytest.raises(Invalid):
        check_name(name)


@pytest.mark.parametrize(
    ("path", "folder", "below"),
    [("a/b", "a", True), ("a", "a", False), ("ab", "a", False), ("a", "", True), ("", "", False)],
)
def test_is_below(path: str, folder: str, below: bool) -> None:
    assert ContentPath(path).is_below(ContentPath(folder)) is below
