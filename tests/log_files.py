"""A log for the tests of git: changing it, and the files that it holds at some moment in git's words."""

from __future__ import annotations

from pathlib import Path

from evstore.core.events import Author, Event, Recorded
from evstore.core.paths import ContentPath
from evstore.log import bodies, log
from evstore.log.engine.base import Tx
from evstore.projections import executables, tree
from evstore.services.contents import Contents, SaveRequest
from evstore.store.store import Store
from evstore.transfer.git.git_export import GitExported, export_repository
from evstore.transfer.git.git_import import GitReport, import_repository
from tests.git_repository import FILE, PROGRAM, blob_id, git


def quiet(done: int, total: int) -> None:
    """Progress that nobody watches."""


def me() -> Author:
    """An author for one command: each has its own id."""
    return Author.new("me")


async def save(store: Store, path: str, data: bytes, author: Author | None = None) -> None:
    body = bodies.prepare(data, store.known, notebook=False)
    await Contents(store).save(ContentPath(path), SaveRequest(body=body), author or me())


async def export(store: Store, target: Path, at: int | None = None) -> GitExported:
    return await export_repository(store, target, at, quiet)


def noted(folder: Path, name: str = "main") -> list[int]:
    """The offset that is noted of each commit, the oldest first."""
    told = git(folder, "log", "--reverse", "--first-parent", "--notes=evstore", "--format=%N", name).decode()
    return [int(row.removeprefix("offset ")) for row in told.splitlines() if row.startswith("offset ")]


async def folders_at(store: Store, at: int) -> set[str]:
    """The paths of the folders in the tree as of an offset."""

    def query(tx: Tx) -> set[str]:
        return {str(entry.path) for entry in tree.subtree(tx, tree.root(tx, at), at) if entry.is_directory}

    return await store.read(query)


async def files_at(store: Store, at: int = tree.NOW, folder: str = "") -> dict[str, tuple[str, str]]:
    """path -> mode and git's id of the bytes, for the files below `folder` as of an offset."""

    def query(tx: Tx) -> dict[str, tuple[str, str]]:
        top = tree.entry_at(tx, ContentPath(folder), at)
        if top is None:
            return {}
        found: dict[str, tuple[str, str]] = {}
        for entry in tree.subtree(tx, top, at):
            if not entry.is_directory:
                data = bodies.read(tx, entry.digest) if entry.digest is not None else b""
                mode = PROGRAM if executables.is_executable(tx, entry.id, at) else FILE
                found[entry.path.removeprefix(folder).lstrip("/")] = (mode, blob_id(data))
        return found

    return await store.read(query)


async def take_in(
    store: Store, repository: Path, into: str = "", revision: str = "HEAD", max_size: int = 1 << 30
) -> GitReport:
    return await import_repository(
        store, repository, into=ContentPath(into), revision=revision, max_size=max_size, progress=quiet
    )


async def events_of(store: Store, *kinds: type[Event]) -> list[Recorded]:
    events = await store.read(lambda tx: log.after(tx, 0, 1 << 30))
    return [one for one in events if isinstance(one.event, kinds)]
