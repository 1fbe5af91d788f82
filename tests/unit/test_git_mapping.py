"""What the log's words become in git: identities, messages, names of tags, paths."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evstore.transfer.git import mapping
from evstore.transfer.git.formats import IDENT

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


@pytest.mark.parametrize(
    ("actor", "ident"),
    [
        ("me", "me <me@evstore> 1600000000 +0000"),
        ("Ada Lovelace", "Ada Lovelace <Ada-Lovelace@evstore> 1600000000 +0000"),
        ("", "unknown <unknown@evstore> 1600000000 +0000"),
        ("<\n>", "unknown <unknown@evstore> 1600000000 +0000"),
        ("a <b@c>\0 é", "a b@c é <a-b-c-é@evstore> 1600000000 +0000"),
    ],
)
def test_who_and_when(actor: str, ident: str) -> None:
    assert mapping.ident(actor, 1_600_000_000_999_999) == ident


@given(texts)
def test_git_can_read_every_actor(actor: str) -> None:
    assert IDENT.fullmatch(mapping.ident(actor, 0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("Save", "work/a.ipynb")], "Save work/a.ipynb\n"),
        ([("Move", "a to b\nc")], "Move 'a to b\\nc'\n"),
        ([("Delete", "a/"), ("Delete", "b")], "Delete 2 files\n\nDelete a/\nDelete b\n"),
        ([("Save", "a"), ("Delete", "b")], "Change 2 files\n\nSave a\nDelete b\n"),
        (
            [("Save", str(number)) for number in range(1022)],
            "Save 1,022 files\n\n" + "".join(f"Save {number}\n" for number in range(20)) + "and 1,002 more\n",
        ),
    ],
)
def test_messages(changes: list[tuple[str, str]], message: str) -> None:
    assert mapping.message(changes) == message


@pytest.mark.parametrize(
    ("label", "taken", "name"),
    [
        ("final", [], "final"),
        ("final", ["final"], "final-7"),
        ("final", ["final", "final-7"], "final-7-7"),
        ("before the talk", [], "before-the-talk"),
        ("release/1.0", ["release/0.9"], "release/1.0"),
        ("release/1.0", ["release"], "release-1.0-7"),
        ("release", ["release/1.0"], "release-7"),
        ("", [], "checkpoint-7"),
        ("@", [], "checkpoint-7"),
        ("...", [], "checkpoint-7"),
        ("-x.lock", [], "x-"),
        ("a..b@{c}", [], "a-b-c}"),
        ("日本 é", [], "日本-é"),
        ("x" * 300, [], "x" * 200),
    ],
)
def test_names_of_tags(label: str, taken: list[str], name: str) -> None:
    assert mapping.TagNames(taken).take(label, 7) == name


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(texts, st.text("a/.@{-~ lock\\", max_size=12)), min_size=1, max_size=20))
def test_git_allows_every_name_and_none_is_given_twice(labels: list[str]) -> None:
    names = mapping.TagNames([])
    given_out = [names.take(label, number) for number, label in enumerate(labels)]
    assert len(set(given_out)) == len(labels)
    for name in given_out:
        asked = subprocess.run(["git", "check-ref-format", f"refs/tags/{name}"], check=False)
        assert asked.returncode == 0, name


@pytest.mark.parametrize(
    ("path", "raw"),
    [
        ("a b/é", "a b/é".encode()),
        ('"a', b'"\\"a"'),
        ("a\nb", b'"a\\nb"'),
        ("a\\b\n", b'"a\\\\b\\n"'),
    ],
)
def test_paths(path: str, raw: bytes) -> None:
    assert mapping.quoted(path) == raw


@pytest.mark.parametrize(
    ("path", "possible"),
    [
        (".gitignore", True),
        ("a/.git", False),
        (".GIT/config", False),
        ("git~1", False),
        (".git . ", False),
        (".git:x", False),
        ("a.git", True),
        ("git~10", True),
    ],
)
def test_names_that_git_has_no_files_of(path: str, possible: bool) -> None:
    assert mapping.is_possible(path) is possible
