"""The log's history as a git repository: each commit's tree is the log's, as of the offset that its note says."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from evstore import rules
from evstore.checkpoints import Checkpoints
from evstore.contents import Contents, Save
from evstore.errors import EvstoreError
from evstore.events import Author
from evstore.history import History
from evstore.log import bodies, log
from evstore.paths import ContentPath
from evstore.projections import modes, tree
from evstore.store import Store, Work
from evstore.transfer.git import exporting
from evstore.transfer.git.exporting import GitExported, export_repository
from tests import git_repository as repositories
from tests.git_repository import git, line
from tests.log_files import files_at

Operation = Callable[[Store], Coroutine[Any, Any, Any]]


def quiet(done: int, total: int) -> None:
    """Progress that nobody watches."""


def me() -> Author:
    """An author for one command: each has its own id."""
    return Author.new("me")


async def save(store: Store, path: str, data: bytes, author: Author | None = None) -> None:
    body = bodies.prepare(data, store.known, notebook=False)
    await Contents(store).save(ContentPath(path), Save(body=body), author or me())


async def set_executable(store: Store, path: str, executable: bool) -> None:
    def command(work: Work) -> None:
        entry = tree.entry_at(work.tx, ContentPath(path))
        if entry is not None:
            known = modes.is_executable(work.tx, entry.id)
            work.append(rules.set_executable(entry, executable, known=known))

    await store.write(command, me())


async def export(store: Store, target: Path, at: int | None = None) -> GitExported:
    return await export_repository(store, target, at, quiet)


def noted(folder: Path, name: str = "main") -> list[int]:
    """The offset that is noted of each commit, the oldest first."""
    told = git(folder, "log", "--reverse", "--first-parent", "--notes=evstore", "--format=%N", name).decode()
    return [int(row.removeprefix("offset ")) for row in told.splitlines() if row.startswith("offset ")]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "log.db")
    yield store
    await store.close()


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


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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

    before, exporting.PAGE = exporting.PAGE, page
    try:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(check(Path(folder)))
    finally:
        exporting.PAGE = before
