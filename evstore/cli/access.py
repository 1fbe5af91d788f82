"""How commands get at the log: beside a running server for reading, through it or alone for writing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from evstore.cli.server_file import RunningServer, locked_folder
from evstore.core.errors import Locked
from evstore.core.events import Author, EntryId, format_id
from evstore.core.paths import ContentPath
from evstore.http import models
from evstore.http.models import Model
from evstore.log.log import Moment
from evstore.services.history import History
from evstore.store.store import Store

if TYPE_CHECKING:
    from evstore.http.client import Client
    from evstore.worktree.working_folder import WorkingFolder

ACTOR = "cli"  # in the log, of what a command did while no server ran


@asynccontextmanager
async def reading(db: Path) -> AsyncGenerator[Store]:
    """The log, for reading only: also while a server writes it."""
    store = await Store.open_for_reading(db)
    try:
        yield store
    finally:
        await store.close()


class Alone:
    """No server runs: the command writes the log itself. Answers as the API does."""

    def __init__(self, store: Store, folder: WorkingFolder | None) -> None:
        """`folder`: where what is written is done as well."""
        self.store = store
        self._folder = folder

    def check_way(self, path: ContentPath) -> None:
        """Raise Forbidden when what is written to `path` would go through a link. It blocks: call it in a thread."""
        if self._folder is not None:
            self._folder.unversioned.links.check_way(path)

    async def restore(self, path: ContentPath, at: Moment, *, dry_run: bool) -> Model:
        done = await History(self.store).restore(path, at, Author.new(ACTOR), dry_run=dry_run)
        return models.restored(done)

    async def undelete(self, entry: EntryId, path: ContentPath | None) -> ContentPath:
        if path is not None:
            await asyncio.to_thread(self.check_way, path)
        return (await History(self.store).undelete(entry, path, Author.new(ACTOR))).path


class ThroughServer:
    """A server runs: it is asked to."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def restore(self, path: ContentPath, at: Moment, *, dry_run: bool) -> Model:
        moment = at.isoformat() if isinstance(at, datetime) else at
        wish = {"at": moment, "dry_run": dry_run}
        return await self.client.ask("POST", f"api/history/restore/{quote(path)}", wish)

    async def undelete(self, entry: EntryId, path: ContentPath | None) -> ContentPath:
        wish = {"entry": format_id(entry), "path": path}
        return ContentPath((await self.client.ask("POST", "api/history/undelete", wish))["path"])


@asynccontextmanager
async def writing(db: Path) -> AsyncGenerator[Alone | ThroughServer]:
    """The log, for changing it. Raises Locked when something else than a server is writing it."""
    try:
        store = await Store.open(db)
    except Locked as locked:
        async with through_server(locked, db) as server:
            yield server
        return
    try:
        with holding_folder(db):
            async with written_out(store, db) as folder:
                yield Alone(store, folder)
    finally:
        await store.close()


@contextmanager
def holding_folder(db: Path) -> Generator[None]:
    """Keep every other evstore out of the folder that the log is in, if it has been served with it. Raises Locked."""
    with locked_folder(folder_of(db), db) if is_served_with_its_folder(db) else nullcontext():
        yield


@asynccontextmanager
async def written_out(store: Store, db: Path) -> AsyncGenerator[WorkingFolder | None]:
    """What the log has, and gets until the end, is done in its folder too, which is given, if it has been served with it.

    The caller holds the folder. Raises FolderFailed.
    """
    if not is_served_with_its_folder(db):
        yield None
        return
    # here, because half of evstore is behind it, and most commands only read
    from evstore.worktree.working_folder import WorkingFolder

    folder = WorkingFolder(store, folder_of(db), db, max_size=sys.maxsize)
    try:
        await folder.open_to_write()
        yield folder
    finally:
        await folder.close()


def folder_of(db: Path) -> Path:
    """The folder that a log is in, unless --db has put it elsewhere."""
    return db.parent.parent


def is_served_with_its_folder(db: Path) -> bool:
    """Whether the log is where a server puts it, and one has; a log elsewhere does not know where its folder is."""
    return db.parent.name == ".evstore" and (db.parent / "folder").is_file()


@asynccontextmanager
async def through_server(locked: Locked, db: Path) -> AsyncGenerator[ThroughServer]:
    """The server that has `db` locked. Raises `locked` when it is no server."""
    server = RunningServer.behind(locked, db)
    http: Any = import_module("evstore.http.client")  # not at the top: aiohttp is for this case only
    async with http.connect(server.url, server.token) as client:
        yield ThroughServer(client)


async def rebuild(db: Path, progress: Callable[[int], None]) -> None:
    """Have all projections made anew, by the server if one runs; `progress` gets offsets if none does."""
    try:
        store = await Store.open(db, progress, rebuild=True)
    except Locked as locked:
        async with through_server(locked, db) as server:
            await server.client.ask("POST", "api/history/rebuild")
    else:
        await store.close()
