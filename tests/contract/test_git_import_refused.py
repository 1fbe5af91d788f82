"""Git repositories that can't be taken in, or not whole: one sentence, and a log that is as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evstore.core.errors import Conflict, EvstoreError, Exists, Invalid, NotFound, NotInstalled
from evstore.core.events import CommitImported
from evstore.store.store import Store
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
from tests.log_files import events_of, files_at, save, take_in


async def refused(
    store: Store, repository: Path, error: type[EvstoreError], sentence: str, **more: str
) -> None:
    before = store.offset
    with pytest.raises(error) as raised:
        await take_in(store, repository, **more)
    assert raised.value.message == sentence
    assert store.offset == before


async def test_a_folder_that_is_not_empty(store: Store, tmp_path: Path) -> None:
    repository = build(tmp_path / "in", [Step({"a": (FILE, b"1")})])
    await save(store, "mine", b"")
    await refused(
        store, repository, Exists, "/ is not empty; a repository goes into a folder of its own (--to)."
    )
    await refused(store, repository, Invalid, "Not a directory: mine is a file.", into="mine/x")
    await refused(store, repository, Invalid, "Not a directory: mine is a file.", into="mine")


async def test_another_line(store: Store, tmp_path: Path) -> None:
    first = build(tmp_path / "one", [Step({"a": (FILE, b"1")})])
    second = build(tmp_path / "two", [Step({"a": (FILE, b"2")})])
    await take_in(store, first)
    sentence = (
        f"/ holds the history up to the commit {head(first, 'main')[:10]}, which is not on the "
        "line of first parents of HEAD. Take that in elsewhere (--to)."
    )
    await refused(store, second, Conflict, sentence)


async def test_no_repository(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    await refused(store, folder, NotFound, f"There is no git repository in {folder}.")
    new_repository(tmp_path / "above")
    (tmp_path / "above" / "sub").mkdir()
    await refused(
        store,
        tmp_path / "above" / "sub",
        NotFound,
        f"There is no git repository in {tmp_path / 'above' / 'sub'}.",
    )


async def test_no_commits(store: Store, tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "in")
    await refused(store, repository, NotFound, f"The repository in {repository} has no commits yet.")
    for revision in ("nowhere", "--all", "a..b", ""):
        await refused(
            store,
            repository,
            NotFound,
            f"The repository in {repository} has no commit called {revision!r}.",
            revision=revision,
        )


async def test_without_git(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = build(tmp_path / "in", [Step({"a": (FILE, b"1")})])
    monkeypatch.setenv("PATH", str(tmp_path))
    await refused(store, repository, NotInstalled, "git is not installed here (Debian: apt-get install git).")


@pytest.mark.parametrize("what", ["commit", "tree", "blob"])
async def test_a_damaged_repository(store: Store, tmp_path: Path, what: str) -> None:
    """What came before the damage is there whole, and an import of the mended repository goes on."""
    repository = new_repository(tmp_path / "in")
    for number in range(3):
        write(repository, "a", f"{number}")
        commit(repository, f"Commit {number}", number)
    name = head(repository, {"commit": "main~1", "tree": "main~1^{tree}", "blob": "main~1:a"}[what])
    lost = repository / ".git" / "objects" / name[:2] / name[2:]
    kept = lost.read_bytes()
    lost.unlink()
    with pytest.raises(GitFailed) as raised:
        await take_in(store, repository)
    assert name in raised.value.message
    lost.write_bytes(kept)
    await take_in(store, repository)
    found = [
        one.event.commit
        for one in await events_of(store, CommitImported)
        if isinstance(one.event, CommitImported)
    ]
    assert found == line(repository)


async def test_a_git_that_dies(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that answers the first questions, and then nothing any more."""
    repository = build(tmp_path / "in", [Step({"a": (FILE, b"1")})])
    real, fake = git_program(), tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(
        f'#!/bin/sh\ncase "$*" in *cat-file*) echo "fatal: no memory" >&2; exit 128;; esac\nexec {real} "$@"\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    with pytest.raises(GitFailed, match=r"^git failed: no memory$"):
        await take_in(store, repository)


async def test_a_partial_clone(store: Store, tmp_path: Path) -> None:
    """What it lacks is not fetched."""
    repository = build(tmp_path / "in", [Step({"a": (FILE, b"1")}), Step({"a": (FILE, b"2")})])
    git(repository, "config", "uploadpack.allowFilter", "true")
    git(
        tmp_path, "clone", "--quiet", "--no-checkout", "--filter=blob:none", f"file://{repository}", "partial"
    )
    with pytest.raises(GitFailed):
        await take_in(store, tmp_path / "partial")
    assert await files_at(store) == {}


async def test_a_repository_whose_settings_name_programs(store: Store, tmp_path: Path) -> None:
    """None of them is started, even where something is missing that one of them could bring."""
    repository = new_repository(tmp_path / "in")
    write(repository, ".gitattributes", "* diff=evil filter=evil\n")
    write(repository, "a", "1")
    commit(repository, "First", 1)
    write(repository, "a", "2")
    commit(repository, "Second", 2)
    evil = f"touch {tmp_path / 'started'}"
    for name, value in {
        "core.fsmonitor": evil,
        "core.sshCommand": evil,
        "core.pager": evil,
        "core.alternateRefsCommand": evil,
        "diff.external": evil,
        "diff.evil.textconv": evil,
        "diff.evil.command": evil,
        "filter.evil.smudge": evil,
        "filter.evil.clean": evil,
        "protocol.ext.allow": "always",
        "protocol.allow": "always",
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "evil",
        "remote.evil.promisor": "true",
        "remote.evil.url": f"ext::sh -c {evil.replace(' ', '% ')}",
    }.items():
        git(repository, "config", name, value.replace("started", f"started-by-{name}"))
    assert (await take_in(store, repository, "whole")).commits == 2
    name = head(repository, "main:a")
    (repository / ".git" / "objects" / name[:2] / name[2:]).unlink()
    with pytest.raises(GitFailed):
        await take_in(store, repository, "broken")
    assert [name for name in os.listdir(tmp_path) if name.startswith("started")] == []


async def test_the_settings_of_a_hook_are_not_ours(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evstore that a git hook calls is told of the hook's repository."""
    repository = build(tmp_path / "in", [Step({"a": (FILE, b"1")})])
    other = build(tmp_path / "other", [Step({"b": (FILE, b"1")})])
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    await take_in(store, repository)
    assert set(await files_at(store)) == {"a"}
    git(tmp_path, "clone", "--quiet", "--bare", str(repository), "bare.git")
    await take_in(store, tmp_path / "bare.git", "bare")
    assert set(await files_at(store, folder="bare")) == {"a"}
