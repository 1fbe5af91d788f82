"""The files that a log holds at some moment, in git's words, to be compared with the tree of a commit."""

from __future__ import annotations

from evstore.engine.base import Tx
from evstore.log import bodies
from evstore.paths import ContentPath
from evstore.projections import modes, tree
from evstore.store import Store
from tests.git_repository import FILE, PROGRAM, blob_id


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
                mode = PROGRAM if modes.is_executable(tx, entry.id, at) else FILE
                found[entry.path.removeprefix(folder).lstrip("/")] = (mode, blob_id(data))
        return found

    return await store.read(query)
