"""Where the log's history is written to as a git repository: what is gone on with, and what is left alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evstore.core.errors import Conflict, EvstoreError, Exists, NotInstalled
from evstore.core.paths import ContentPath
from evstore.services.checkpoints import Checkpoints
from evstore.store.store import Store
from evstore.transfer.git.program import GitFailed
from tests import git_repository as repositories
from tests.git_repository import commit, git, head, line, new_repository, write
from tests.log_files import export, files_at, me, noted, save, take_in

CHANGES = (
    "has changes that are in no commit, and would lose them. "
    "Put them aside first: git stash --include-untracked"
)


async def test_an_empty_log(store: Store, tmp_path: Path) -> None:
    assert (await export(store, tmp_path / "out")).commits == 0
    await save(store, "a", b"1")
    assert (await export(store, tmp_path / "out")).commits == 1
    assert (tmp_path / "out" / "a").read_bytes() == b"1"


async def test_nothing_new_changes_nothing(store: Store, tmp_path: Path) -> None:
    await save(store, "a", b"1")
    await export(store, tmp_path / "out")
    before = git(tmp_path / "out", "for-each-ref")
    assert (await export(store, tmp_path / "out")).commits == 0
    assert git(tmp_path / "out", "for-each-ref") == before
    await Checkpoints(store).create(ContentPath("a"), me())
    assert (await export(store, tmp_path / "out")).commits == 0
    assert noted(tmp_path / "out") == [3]


async def test_the_same_log_gives_the_same_commits(store: Store, tmp_path: Path) -> None:
    for number in range(4):
        await save(store, "a", b"%d" % number)
    await export(store, tmp_path / "whole")
    for offset in (2, 3, 5):
        await export(store, tmp_path / "parts", offset)
    assert line(tmp_path / "parts", "main") == line(tmp_path / "whole", "main")


async def test_a_bare_repository_and_one_with_another_branch_checked_out(
    store: Store, tmp_path: Path
) -> None:
    await save(store, "a", b"1")
    git(tmp_path, "init", "--quiet", "--bare", "bare.git")
    await export(store, tmp_path / "bare.git")
    assert head(tmp_path / "bare.git", "main")
    await export(store, tmp_path / "out")
    git(tmp_path / "out", "checkout", "--quiet", "-b", "mine")
    write(tmp_path / "out", "a", "mine")
    await save(store, "a", b"2")
    await export(store, tmp_path / "out")
    assert (tmp_path / "out" / "a").read_text() == "mine"
    assert len(line(tmp_path / "out", "main")) == 2


async def refused(
    store: Store, target: Path, error: type[EvstoreError], sentence: str, at: int | None = None
) -> None:
    with pytest.raises(error) as raised:
        await export(store, target, at)
    assert raised.value.message == sentence


async def test_folders_that_are_something_else(store: Store, tmp_path: Path) -> None:
    await save(store, "a", b"1")
    out = tmp_path / "out"
    write(out, "file", "")
    await refused(
        store, out, Exists, f"{out} is not empty, and is no git repository that could be gone on with."
    )
    await refused(
        store, out / "file", Exists, f"{out / 'file'} is a file; a folder is needed for the repository."
    )
    theirs = new_repository(tmp_path / "theirs")
    write(theirs, "x", "1")
    await refused(store, theirs, Conflict, f"{theirs} {CHANGES}")
    commit(theirs, "Theirs")
    sentence = "The newest commit on main in {} is not evstore's: there is nothing to go on from."
    await refused(store, theirs, Conflict, sentence.format(theirs))
    git(theirs, "branch", "--move", "main", "other")
    await refused(
        store,
        theirs,
        Conflict,
        f"{theirs} is a repository with other branches or tags. Export into a new one.",
    )


async def test_a_repository_that_somebody_worked_in(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    await save(store, "a", b"1")
    await export(store, out)
    await save(store, "a", b"2")
    write(out, "new", "mine")
    await refused(store, out, Conflict, f"{out} {CHANGES}")
    assert (out / "new").read_text() == "mine"
    commit(out, "Mine")
    sentence = f"The newest commit on main in {out} is not evstore's: there is nothing to go on from."
    await refused(store, out, Conflict, sentence)


async def test_a_repository_of_somebody_else(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git's own word is told, and not that it is no repository."""
    await save(store, "a", b"1")
    await export(store, tmp_path / "out")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    sentence = f"git failed: detected dubious ownership in repository at '{tmp_path / 'out'}'"
    await refused(store, tmp_path / "out", GitFailed, sentence)
    with pytest.raises(GitFailed) as raised:
        await take_in(store, tmp_path / "out", "below")
    assert raised.value.message == sentence


async def test_a_branch_without_commits_is_checked_out(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    await save(store, "a", b"1")
    await export(store, out)
    git(out, "checkout", "--quiet", "--orphan", "mine")
    write(out, "b", "mine")
    await save(store, "a", b"2")
    assert (await export(store, out)).commits == 1
    assert ((out / "a").read_text(), (out / "b").read_text()) == ("1", "mine")


async def test_odd_tags_that_are_there(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    await save(store, "a", b"1")
    await export(store, out)
    git(out, "tag", "a\u2028b", "main")
    await Checkpoints(store).create(ContentPath("a"), me(), "b")
    await Checkpoints(store).create(ContentPath("a"), me(), "a\u2028b")
    await export(store, out)
    assert sorted(git(out, "tag").decode().split("\n")[:-1]) == ["a\u2028b", "a\u2028b-4", "b"]


async def test_settings_that_change_what_git_prints(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "settings"
    settings.write_text("[log]\nshowSignature = true\n[color]\nui = always\n[core]\nquotePath = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    await save(store, "é", b"1")
    await export(store, tmp_path / "out")
    await Checkpoints(store).create(ContentPath("é"), me(), "label")
    assert (await export(store, tmp_path / "out")).tags == 1
    assert head(tmp_path / "out", "label^{}") == line(tmp_path / "out", "main")[0]


async def test_other_logs_and_earlier_moments(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    await save(store, "a", b"1")
    await save(store, "a", b"2")
    await export(store, out)
    await refused(store, out, Conflict, f"{out} holds the history up to offset 3, which is after 2.", at=1)
    other = await Store.open(tmp_path / "other.db")
    await save(other, "a", b"1")
    await refused(other, out, Conflict, f"{out} holds the history up to offset 3, which is after 2.")
    await save(other, "a", b"2")
    await refused(other, out, Conflict, f"{out} holds the history of another log.")
    await other.close()


async def test_without_git(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await save(store, "a", b"1")
    monkeypatch.setenv("PATH", str(tmp_path))
    await refused(
        store, tmp_path / "out", NotInstalled, "git is not installed here (Debian: apt-get install git)."
    )
    assert not (tmp_path / "out").exists()


async def test_a_git_that_dies(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the export shows, and the next one writes it all."""
    for number in range(50):
        await save(store, f"{number}", os.urandom(10_000))
    real = git(tmp_path, "--exec-path").decode().strip() + "/git"
    fake = tmp_path / "bin" / "git"
    write(
        tmp_path / "bin",
        "git",
        f'#!/bin/sh\ncase "$*" in *fast-import*) head -c 100000 >/dev/null; echo "fatal: disk full" >&2; exit 128;; esac\nexec {real} "$@"\n',
    )
    fake.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
        await refused(store, tmp_path / "out", GitFailed, "git failed: disk full")
    assert git(tmp_path / "out", "for-each-ref") == b""
    assert (await export(store, tmp_path / "out")).commits == 50
    assert repositories.tree(tmp_path / "out", "main") == await files_at(store)
