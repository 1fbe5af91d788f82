"""Repositories as old and foreign programs have left them: nothing of them stops an import, or the export after it."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
from pathlib import Path

import pytest

from evstore.core.errors import NotFound
from evstore.core.events import CommitImported, TagImported
from evstore.store.store import Store
from evstore.transfer.git import history_reader
from evstore.transfer.git.git_import import GitReport
from evstore.transfer.git.program import GitFailed
from tests.git_repository import (
    FILE,
    Step,
    build,
    commit,
    git,
    git_program,
    head,
    line,
    new_repository,
    write,
)
from tests.log_files import events_of, export, files_at, take_in


def add_commit(repository: Path, message: bytes = b"", *headers: bytes) -> None:
    """A commit of nothing, byte for byte, on top of `main`."""
    told = [b"tree " + git(repository, "write-tree").strip()]
    if git(repository, "for-each-ref", "refs/heads/main"):
        told.append(b"parent " + head(repository, "main").encode())
    data = b"\n".join([*told, *headers, b"", message])
    made = git(repository, "hash-object", "-w", "-t", "commit", "--literally", "--stdin", data=data)
    git(repository, "update-ref", "refs/heads/main", made.decode().strip())


async def commits_of(store: Store) -> list[CommitImported]:
    found = [one.event for one in await events_of(store, CommitImported)]
    return [one for one in found if isinstance(one, CommitImported)]


async def tags_of(store: Store) -> list[TagImported]:
    found = [one.event for one in await events_of(store, TagImported)]
    return [one for one in found if isinstance(one, TagImported)]


# -- who, when and why -------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoding", ["utf-16-le", "utf-32-be", "cp037", "utf-7", "hz", "punycode", "undefined", "base64"]
)
async def test_an_encoding_in_which_no_commit_can_be_written(
    store: Store, tmp_path: Path, encoding: str
) -> None:
    repository = new_repository(tmp_path / "in")
    for message in (b"four", b"seven~{+", b"caf\xe9"):
        by = b"Ada <a@x> 1600000000 +0200"
        add_commit(repository, message, b"author " + by, b"committer " + by, b"encoding " + encoding.encode())
    await take_in(store, repository)
    assert [(one.message, one.encoding) for one in await commits_of(store)] == [
        (message, "ISO-8859-1") for message in ("four", "seven~{+", "café")
    ]
    assert (await export(store, tmp_path / "out")).commits == 3
    told = git(tmp_path / "out", "log", "--format=%an|%s", "--encoding=UTF-8", "main").decode()
    assert told.splitlines() == ["Ada|café", "Ada|seven~{+", "Ada|four"]


@pytest.mark.parametrize(
    ("told", "ident"),
    [
        (b"Ada <a@x> -86400 +0000", "Ada <a@x> 0 +0000"),
        (b"Ada <a@x> 99999999999999999999 +0000", "Ada <a@x> 0 +0000"),
        (b"Ada <a@x> 1600000000 +99999999999999999999", "Ada <a@x> 1600000000 +0000"),
        ("Ada <a@x> ١٦ +0000".encode(), "Ada <a@x> 0 +0000"),
        (b"Ada <a@x> 1600000000", "Ada <a@x> 1600000000 +0000"),
        (b"Ada 1600000000 +0000", "Ada 1600000000 +0000 <> 0 +0000"),
        (b"A <B> C <a@x> 16 +0000", "A <B C a@x> 16 +0000"),
        (b"", " <> 0 +0000"),
    ],
)
async def test_odd_authors_and_dates(store: Store, tmp_path: Path, told: bytes, ident: str) -> None:
    repository = new_repository(tmp_path / "in")
    add_commit(repository, b"A message", b"author " + told, b"committer " + told)
    await take_in(store, repository)
    assert (await export(store, tmp_path / "out")).commits == 1
    (one,) = await commits_of(store)
    assert (one.author, one.committer) == (ident, ident)


async def test_a_message_with_a_nul(store: Store, tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "in")
    by = b"Ada <a@x> 1600000000 +0200"
    add_commit(repository, b"one\0two", b"author " + by, b"committer " + by)
    await take_in(store, repository)
    await export(store, tmp_path / "out")
    assert git(tmp_path / "out", "cat-file", "commit", "main").endswith(b"one\0two")


# -- names -------------------------------------------------------------------------------


async def test_odd_names_of_tags(store: Store, tmp_path: Path) -> None:
    repository = build(tmp_path / "in", [Step({"a": (FILE, b"1")})])
    names = ["a\u2028b", "a\x85b", "q\"uo'te", os.fsdecode(b"latin\xe9"), os.fsdecode(b"latin\xe8"), "é/日本"]
    for name in names:
        git(repository, "tag", name, "main")
    report = await take_in(store, repository)
    assert (report.tags, report.skipped) == (6, [])
    told = {one.name for one in await tags_of(store)}
    assert told == {*names[:3], "latin\\xe9", "latin\\xe8", "é/日本"}
    assert await take_in(store, repository) == GitReport()
    assert (await export(store, tmp_path / "out")).tags == 6


async def test_a_tag_that_was_moved(store: Store, tmp_path: Path) -> None:
    """The name is where it is in the repository now."""
    steps = [Step({"a": (FILE, b"1")}), Step({"a": (FILE, b"2")})]
    repository = build(tmp_path / "in", steps)
    for place in ("main~1", "main"):
        git(repository, "tag", "--force", "moved", place)
        await take_in(store, repository)
    assert (await export(store, tmp_path / "out")).tags == 1
    assert git(tmp_path / "out", "tag").decode().split() == ["moved"]
    assert head(tmp_path / "out", "moved") == head(tmp_path / "out", "main")


async def test_a_tag_in_another_encoding(store: Store, tmp_path: Path) -> None:
    repository = build(tmp_path / "in", [Step({"a": (FILE, b"1")})])
    data = (
        b"object %s\ntype commit\ntag old\ntagger Ren\xe9 <r@x> 16 +0000\n\ncaf\xe9\n"
        % head(repository, "main").encode()
    )
    made = git(repository, "hash-object", "-w", "-t", "tag", "--literally", "--stdin", data=data)
    git(repository, "update-ref", "refs/tags/old", made.decode().strip())
    await take_in(store, repository)
    (tag,) = await tags_of(store)
    assert (tag.tagger, tag.message) == ("René <r@x> 16 +0000", "café\n")


# -- repositories ------------------------------------------------------------------------


async def test_no_branch_is_checked_out_that_has_commits(store: Store, tmp_path: Path) -> None:
    repository = build(tmp_path / "in", [Step({"a": (FILE, b"1")})])
    git(repository, "symbolic-ref", "HEAD", "refs/heads/other")
    with pytest.raises(NotFound) as raised:
        await take_in(store, repository)
    assert raised.value.message == (
        f"What is checked out in {repository} has no commits yet. Choose a branch with --branch."
    )
    await take_in(store, repository, revision="main")
    assert set(await files_at(store)) == {"a"}


async def test_other_ids(store: Store, tmp_path: Path) -> None:
    """SHA-256 in the place of SHA-1."""
    (tmp_path / "in").mkdir()
    git(tmp_path / "in", "init", "--quiet", "--initial-branch=main", "--object-format=sha256")
    write(tmp_path / "in", "a", "1")
    commit(tmp_path / "in", "First")
    await take_in(store, tmp_path / "in")
    assert [one.commit for one in await commits_of(store)] == line(tmp_path / "in")
    assert await take_in(store, tmp_path / "in") == GitReport()


async def test_a_shallow_clone(store: Store, tmp_path: Path) -> None:
    """Its first commit is one without parents; when the rest has been fetched the import goes on."""
    repository = build(tmp_path / "in", [Step({"a": (FILE, b"%d" % number)}) for number in range(5)])
    git(tmp_path, "clone", "--quiet", "--depth=2", f"file://{repository}", "shallow")
    assert (await take_in(store, tmp_path / "shallow")).commits == 2
    git(tmp_path / "shallow", "fetch", "--quiet", "--unshallow")
    git(repository, "reset", "--quiet", "--hard")
    write(repository, "a", "more")
    commit(repository, "More", 9)
    git(tmp_path / "shallow", "pull", "--quiet")
    assert (await take_in(store, tmp_path / "shallow")).commits == 1


async def test_a_linked_working_tree(store: Store, tmp_path: Path) -> None:
    repository = build(tmp_path / "in", [Step({"a": (FILE, b"1")})])
    git(repository, "worktree", "add", "--quiet", str(tmp_path / "tree"), "main~0")
    assert (await take_in(store, tmp_path / "tree")).commits == 1


def break_git(folder: Path, monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    """From now on `git diff-tree` dies after so many bytes."""
    real = git_program()
    script = [
        "#!/bin/sh",
        f'case "$*" in *diff-tree*) {real} "$@" | head -c {cut}; echo "fatal: no memory" >&2; exit 128;; esac',
        f'exec {real} "$@"',
    ]
    write(folder, "git", "\n".join(script))
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize("cut", [20, 41, 142, 200, 243, 445, 486, 520])
async def test_no_commit_is_taken_in_half(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    """git dies while it tells what a commit changed."""
    monkeypatch.setattr(history_reader, "BATCH_COMMITS", 1)
    files = {f"{number}": (FILE, b"%d" % number) for number in range(4)}
    repository = build(tmp_path / "in", [Step(files), Step({**files, "more": (FILE, b"1")})])
    with monkeypatch.context() as patched:
        break_git(tmp_path / "bin", patched, cut)
        with pytest.raises(GitFailed, match=r"^git failed: no memory$"):
            await take_in(store, repository)
    assert len(await files_at(store)) in (0, 4)
    await take_in(store, repository)
    assert [one.commit for one in await commits_of(store)] == line(repository)
    assert len(await files_at(store)) == 5


async def test_a_git_that_dies_and_leaves_another_waiting(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of the commits fills the pipe that nobody reads any more."""
    repository = build(tmp_path / "in", [Step({"a": (FILE, b"%d" % number)}) for number in range(3000)])
    break_git(tmp_path / "bin", monkeypatch, 0)
    with pytest.raises(GitFailed, match=r"^git failed: no memory$"):
        await asyncio.wait_for(take_in(store, repository), 30)


async def test_what_is_read_does_not_stay_in_memory(store: Store, tmp_path: Path) -> None:
    size = 2_000_000
    steps = [Step({"a": (FILE, bytes([number]) * size)}) for number in range(60)]
    repository = build(tmp_path / "in", steps)
    del steps
    tracemalloc.start()
    try:
        await take_in(store, repository)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * size
