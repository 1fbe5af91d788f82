"""A store with its working folder, of which a test changes both sides; and what has to be true of them then."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shutil
import stat
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from evstore.core import rules
from evstore.core.errors import EvstoreError
from evstore.core.events import Author, EntryId
from evstore.core.paths import ContentPath
from evstore.log import bodies
from evstore.log.engine.base import Tx
from evstore.projections import executables, tree
from evstore.services.checkpoints import Checkpoints
from evstore.services.contents import Contents, SaveRequest
from evstore.services.history import History
from evstore.store.store import Store, UnitOfWork
from evstore.worktree.working_folder import WorkingFolder

LONGEST = 30  # seconds that anything may take
MAX_SIZE = 1_000_000
AUTHOR = "test"
Tree = dict[str, bytes | None]  # digests by path; None: a directory
EMPTY = hashlib.sha256(b"").digest()


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class Complaints(logging.Handler):
    """What evstore says at WARNING or above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))


class BothSides:
    """What is saved, and what is on the disk, in the log and in the folder at `root`."""

    def __init__(self, place: Path) -> None:
        self.root = place / "folder"
        self.root.mkdir(exist_ok=True)
        self.db = place / "log.db"
        # digests that were acknowledged, or were on the disk at a quiet moment
        self.must_have: set[bytes] = set()
        self.store: Store
        self.folder: WorkingFolder

    async def open(self, **options: Any) -> None:
        await self.open_store()
        await self.open_folder(**options)

    async def open_store(self) -> None:
        self.store = await Store.open(self.db)

    async def open_folder(self, **options: Any) -> None:
        self.folder = WorkingFolder(self.store, self.root, self.db, max_size=MAX_SIZE, **options)
        await asyncio.wait_for(self.folder.open(), LONGEST)
        self.contents, self.checkpoints = Contents(self.store), Checkpoints(self.store)
        self.history = History(self.store)

    async def close(self) -> None:
        await asyncio.wait_for(self.folder.close(), LONGEST)
        await self.store.close()

    async def crash(self) -> None:
        """End as if the process were killed: nothing that waits is done, nothing is noted."""
        folder = self.folder
        tasks = [*folder._tasks, *folder._folder_thread._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await folder._watcher.aclose()
        folder._folder_thread._thread.shutdown()
        folder._folder_thread._reader.shut()
        self.store.mirror = None
        await self.store.close()

    # -- clients -----------------------------------------------------------------------

    async def save(self, path: str, data: bytes) -> None:
        body = bodies.prepare(data, self.store.known, notebook=False)
        await self.contents.save(ContentPath(path), SaveRequest(body=body), Author.new(AUTHOR))
        self.must_have.add(digest(data))

    async def try_to(self, work: Coroutine[Any, Any, Any]) -> bool:
        """Whether a client's wish was fulfilled; a refusal is fine, but not one that takes for ever."""
        try:
            await asyncio.wait_for(work, LONGEST)
        except EvstoreError:
            return False
        return True

    async def tree(self) -> Tree:
        def query(tx: Tx) -> Tree:
            entries = tree.subtree(tx, tree.root(tx))
            return {e.path: None if e.is_directory else (e.digest or EMPTY) for e in entries if e.path}

        return await self.store.read(query)

    async def programs(self) -> dict[str, EntryId]:
        """The files that are executable, as the log says."""

        def query(tx: Tx) -> dict[str, EntryId]:
            found = ((tree.path_of(tx, entry), entry) for entry in executables.executables(tx))
            return {path: entry for path, entry in found if path is not None}

        return await self.store.read(query)

    async def set_executable(self, path: str, executable: bool) -> None:
        def command(work: UnitOfWork) -> None:
            entry = tree.entry_at(work.tx, ContentPath(path))
            assert entry is not None
            known = executables.is_executable(work.tx, entry.id)
            work.append(rules.set_executable(entry, executable, known=known))

        await self.store.write(command, Author.new(AUTHOR))

    async def text(self, path: str) -> bytes | None:
        await self.folder.look(ContentPath(path))
        entry = await self.contents.exists(ContentPath(path))
        return None if entry is None else await self.store.body(entry.digest)

    async def events(self, path: str) -> list[str]:
        told, _ = await self.history.versions(ContentPath(path))
        return [type(one.recorded.event).__name__ for one in reversed(told)]

    # -- the disk ----------------------------------------------------------------------

    def write(self, path: str, data: bytes) -> None:
        (self.root / path).write_bytes(data)

    def disk(self) -> Tree:
        found: Tree = {}
        for place, directories, files in os.walk(self.root):
            directories[:] = [name for name in directories if not name.startswith(".")]
            for name in directories:
                found[self._path(place, name)] = None
            for name in files:
                if not name.startswith("."):
                    found[self._path(place, name)] = digest(Path(place, name).read_bytes())
        return found

    def executable(self) -> set[str]:
        """The files that the disk says so of."""
        files = (path for path, found in self.disk().items() if found is not None)
        return {path for path in files if (self.root / path).stat().st_mode & stat.S_IXUSR}

    def _path(self, place: str, name: str) -> str:
        return (Path(place) / name).relative_to(self.root).as_posix()

    def remove(self, path: str) -> None:
        place = self.root / path
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink()

    # -- both --------------------------------------------------------------------------

    async def agree(self) -> Tree:
        """Wait until each side has what the other has; both must be the same then. Returns what they are."""
        await asyncio.wait_for(self.folder.settled(), LONGEST)
        return await self.are_equal()

    async def agree_by_themselves(self) -> Tree:
        """As `agree`, without asking the folder to look: it has to hear of it."""
        async with asyncio.timeout(LONGEST):
            while (
                await self.tree() != self.disk()
                or (await self.programs()).keys() != self.executable()
                or self.folder._dirty_queue
            ):
                await asyncio.sleep(0.05)
        return await self.are_equal()

    async def are_equal(self) -> Tree:
        logged, disk = await self.tree(), self.disk()
        assert logged == disk, {
            path: (logged.get(path, "absent"), disk.get(path, "absent"))
            for path in logged.keys() | disk.keys()
            if logged.get(path, "absent") != disk.get(path, "absent")
        }
        if self.folder._disk.keeps_modes:
            assert (await self.programs()).keys() == self.executable()
        self.must_have |= {found for found in disk.values() if found is not None}
        return disk

    async def has_lost(self) -> set[bytes]:
        """What should be in the log and is not."""
        versions = await self.store.read(
            lambda tx: {row[0] for row in tx.rows("select digest from contents")}
        )
        return self.must_have - versions - {EMPTY}
