"""The log's history as a git repository: each commit's tree is the log's, as of the offset that its note says."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from evstore.core import rules
from evstore.core.errors import EvstoreError
from evstore.core.events import Author, Offset, TagImported
from evstore.core.paths import ContentPath
from evstore.log import bodies, log
from evstore.projections import executables, tree
from evstore.services import contents
from evstore.services.checkpoints import Checkpoints
from evstore.services.contents import Contents
from evstore.services.history import History
from evstore.store.store import Store, UnitOfWork
from evstore.transfer.git import git_export, stream
from tests import git_repository as repositories
from tests.git_repository import EXAMPLES, git, head, line
from tests.log_files import export, files_at, me, noted, save

Operation = Callable[[Store], Coroutine[Any, Any, Any]]


async def set_executable(store: Store, path: str, executable: bool) -> None:
    def command(work: UnitOfWork) -> None:
        entry = tree.entry_at(work.tx, ContentPath(path))
        if entry is not None:
            known = executables.is_executable(work.tx, entry.id)
            work.append(rules.set_executable(entry, executable, known=known))

    await store.write(command, me())


# -- random histories --------------------------------------------------------------------

files = st.tuples(st.sampled_from(["", "a/", "b/", "a/b/"]), st.sampled_from(["x", "y z", ".é"])).map("".join)
folders = st.sampled_from(["a", "b", "a/b", "c"])
texts = st.sampled_from([b"", b"one", b"two\n", bytes(range(256)) * 300])
picks = st.integers(0, 1 << 20)


def _save(path: ContentPath, data: bytes) -> Operation:
    return lambda store: save(store, path, data)


def _make(path: ContentPath) -> Operation:
    return lambda store: Contents(store).create_directory(path, me())


def _move(path: ContentPath, to: ContentPath) -> Operation:
    return lambda store: Contents(store).move(path, to, me())


def _copy(path: ContentPath, to: ContentPath) -> Operation:
    return lambda store: Contents(store).copy(path, to, me(), exact=True)


def _delete(path: ContentPath) -> Operation:
    return lambda store: Contents(store).delete(path, me())


def _mark(path: ContentPath, executable: bool) -> Operation:
    return lambda store: set_executable(store, path, executable)


def _label(path: ContentPath) -> Operation:
    return lambda store: Checkpoints(store).create(path, me(), "a label")


def _restore(path: ContentPath, pick: int) -> Operation:
    return lambda store: History(store).restore(path, pick % store.offset + 1, me())


def _undelete(pick: int, to: ContentPath | None) -> Operation:
    async def run(store: Store) -> None:
        if found := await History(store).deleted(ContentPath("")):
            await History(store).undelete(found[pick % len(found)].entry, to, me())

    return run


file_paths, folder_paths = files.map(ContentPath), folders.map(ContentPath)
paths = file_paths | folder_paths
operations = st.one_of(
    st.builds(_save, file_paths, texts),
    st.builds(_make, folder_paths),
    st.builds(_move, paths, paths),
    st.builds(_copy, paths, paths),
    st.builds(_delete, paths),
    st.builds(_mark, file_paths, st.booleans()),
    st.builds(_label, file_paths),
    st.builds(_restore, paths | st.just(ContentPath("")), picks),
    st.builds(_undelete, picks, st.none() | paths),
)


async def ends_of_commands(store: Store) -> list[int]:
    events = await store.read(lambda tx: log.after(tx, 0, 1 << 30))
    following = [*events[1:], None]
    return [
        one.offset
        for one, more in zip(events, following, strict=True)
        if more is None or more.command != one.command
    ]


@pytest.mark.timeout(600)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(operations, min_size=10, max_size=40), picks, st.integers(1, 30))
def test_any_history_is_one_commit_for_each_change_of_files(
    todo: list[Operation], pick: int, page: int
) -> None:
    """However it is cut into pages and exports."""

    async def check(temporary: Path) -> None:
        store, out = await Store.open(temporary / "log.db"), temporary / "out"
        for path in ("a", "b", "a/b"):
            await _make(ContentPath(path))(store)
            await _save(ContentPath(f"{path}/x"), b"one")(store)
        for operation in todo:
            try:
                await operation(store)
            except EvstoreError:
                continue  # what the rules refuse is no history
        await export(store, out, pick % store.offset + 1)
        await export(store, out)
        if (out / ".git/refs/heads/main").exists():
            commits, offsets = line(out, "main"), noted(out)
        else:
            commits, offsets = [], []
        place, before = -1, {}
        for offset in await ends_of_commands(store):
            files = await files_at(store, offset)
            if files != before:
                place, before = place + 1, files
                assert repositories.tree(out, commits[place]) == files
                assert ([-1, *offsets][place]) < offset <= offsets[place]
        assert place == len(commits) - 1
        assert not offsets or (offsets == sorted(offsets) and offsets[-1] == store.offset)
        assert git(out, "status", "--porcelain") == b""
        await store.close()
        event(f"{len(commits) // 4 * 4} commits or more")

    before, git_export.PAGE = git_export.PAGE, page
    try:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(check(Path(folder)))
    finally:
        git_export.PAGE = before


# -- what a commit says ------------------------------------------------------------------


async def test_who_did_what_and_when(store: Store, tmp_path: Path) -> None:
    """One commit for each command that changed files, in the words of what it did."""
    contents, history = Contents(store), History(store)
    await contents.create_directory(ContentPath("work"), me())  # git has no empty folders
    await save(store, "work/a.ipynb", b"{}", Author.new("Ada <x>"))
    await save(store, "work/a.ipynb", b"{1}", Author.new("disk"))
    await contents.trust(ContentPath("work/a.ipynb"), me())
    await Checkpoints(store).create(ContentPath("work/a.ipynb"), me())
    await save(store, "work/a.ipynb", b"{1}")  # as it is
    await contents.move(ContentPath("work/a.ipynb"), ContentPath("work/b.ipynb"), me())
    await contents.copy(ContentPath("work"), ContentPath("copy"), me(), exact=True)
    await contents.move(ContentPath("copy"), ContentPath("moved"), me())
    await Checkpoints(store).restore(ContentPath("work/b.ipynb"), 3, me())
    await set_executable(store, "moved/b.ipynb", True)
    await contents.delete(ContentPath("work"), me())
    await history.undelete((await history.deleted(ContentPath("")))[0].entry, None, me())
    await history.restore(ContentPath(""), 3, me())
    done = await export(store, tmp_path / "out")
    told = git(tmp_path / "out", "log", "--reverse", "--format=%an|%ae|%B%x00", "--no-patch").decode()
    assert [one.strip() for one in told.split("\0")[:-1]] == [
        "Ada x|Ada-x@evstore|Create work/a.ipynb",
        "disk|disk@evstore|Save work/a.ipynb",
        "me|me@evstore|Move work/a.ipynb to work/b.ipynb",
        "me|me@evstore|Create moved/b.ipynb".replace("moved", "copy"),
        "me|me@evstore|Move copy/ to moved/",
        "me|me@evstore|Restore work/b.ipynb as of offset 3",
        "me|me@evstore|Make executable moved/b.ipynb",
        "me|me@evstore|Delete work/",
        "me|me@evstore|Bring back work/",
        "me|me@evstore|Change 2 files\n\nDelete moved/\nMove work/b.ipynb to work/a.ipynb",
    ]
    assert done.commits == 10
    times = (
        git(tmp_path / "out", "log", "--reverse", "--format=%at %ct %ad", "--date=format:%z").decode().split()
    )
    at = await store.read(lambda tx: log.require(tx, 3).at)
    assert times[:3] == [str(at // 1_000_000)] * 2 + ["+0000"]


async def test_a_command_that_does_more_than_save(store: Store, tmp_path: Path) -> None:
    await save(store, "a", b"1")

    def command(work: UnitOfWork) -> None:
        body = bodies.prepare(b"2", store.known, notebook=False)
        entry = contents.save(work, ContentPath("a"), contents.SaveRequest(body=body)).entry
        work.append(rules.checkpoint(entry, None))

    await store.write(command, me())
    await export(store, tmp_path / "out")
    assert git(tmp_path / "out", "log", "-1", "--format=%B", "main").decode().strip() == "Save a"


async def test_a_copy_of_a_program_is_a_program(store: Store, tmp_path: Path) -> None:
    await save(store, "run", b"#!/bin/sh")
    await set_executable(store, "run", True)
    await Contents(store).copy(ContentPath("run"), ContentPath("copy"), me(), exact=True)
    await export(store, tmp_path / "out")
    assert {mode for mode, _ in repositories.tree(tmp_path / "out", "main").values()} == {"100755"}


async def test_labels_are_tags(store: Store, tmp_path: Path) -> None:
    checkpoints, out = Checkpoints(store), tmp_path / "out"
    a, b = ContentPath("a"), ContentPath("b")
    await save(store, a, b"1")
    await checkpoints.create(a, Author.new("Ada"), "the first draft")
    await save(store, a, b"2")
    await checkpoints.create(a, me())
    regretted = await checkpoints.create(a, me(), "regretted")
    await checkpoints.delete(a, regretted.offset, me())
    await save(store, b, b"3")
    await checkpoints.create(b, me(), "the first draft")
    assert (await export(store, out)).tags == 2
    commits = line(out, "main")
    assert git(out, "tag").decode().split() == ["the-first-draft", "the-first-draft-10"]
    assert head(out, "the-first-draft^{}") == commits[0]
    assert head(out, "the-first-draft-10^{}") == commits[2]
    told = git(
        out, "for-each-ref", "--format=%(taggername)|%(contents)", "refs/tags/the-first-draft"
    ).decode()
    assert told.strip() == "Ada|the first draft\n\nThe checkpoint 3 of a."
    # later ones, with and without a change of files before them
    await checkpoints.create(a, me(), "the first draft")
    assert (await export(store, out)).tags == 1
    assert head(out, "the-first-draft-11^{}") == commits[2]


async def test_a_tag_may_name_a_commit_of_an_earlier_export(store: Store, tmp_path: Path) -> None:
    await save(store, "a", b"1")
    await save(store, "a", b"2")
    await export(store, tmp_path / "out")
    await store.write(
        lambda work: work.append(
            rules.note_git(tree.root(work.tx), TagImported(name="x/1", source=Offset(2)))
        ),
        me(),
    )
    await save(store, "a", b"3")
    assert (await export(store, tmp_path / "out")).tags == 1
    assert head(tmp_path / "out", "x/1") == line(tmp_path / "out", "main")[0]


async def test_names_that_git_has_no_files_of_are_told(store: Store, tmp_path: Path) -> None:
    await Contents(store).create_directory(ContentPath("d"), me())
    await Contents(store).create_directory(ContentPath("d/.git"), me())
    await save(store, "d/.git/config", b"[core]\n fsmonitor = evil\n")
    await save(store, "git~1", b"")
    assert (await export(store, tmp_path / "out")).commits == 0
    await save(store, "fine", b"1")
    await Contents(store).move(ContentPath("fine"), ContentPath(".GIT"), me())
    done = await export(store, tmp_path / "again")
    assert [skipped.path for skipped in done.skipped] == ["d/.git/config", "git~1", ".GIT"]
    assert done.commits == 2
    assert repositories.tree(tmp_path / "again", "main") == {}


async def test_large_files_and_files_that_were_forgotten(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body of more chunks than are read at a time; and marks and notes that are not remembered for long."""
    monkeypatch.setattr(stream, "REMEMBERED", 2)
    monkeypatch.setattr(stream, "NOTED", 3)
    data = os.urandom(8 * 1024 * 1024)
    await save(store, "large", data)
    for number in range(5):
        await save(store, f"small{number}", b"%d" % number)
    await Contents(store).copy(ContentPath("large"), ContentPath("again"), me(), exact=True)
    await export(store, tmp_path / "out")
    assert repositories.tree(tmp_path / "out", "main") == await files_at(store)
    assert noted(tmp_path / "out") == [2, 4, 6, 8, 10, 12, 14]
    assert (tmp_path / "out" / "large").read_bytes() == data
