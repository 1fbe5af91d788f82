"""Checkpoints: marks on a file's history. Their ids are offsets, and any offset can be restored."""

from __future__ import annotations

from evstore.core import rules
from evstore.core.entry import Entry
from evstore.core.errors import NotFound
from evstore.core.events import Author, EntryId, Offset
from evstore.core.paths import ContentPath
from evstore.core.rules import Decision
from evstore.log import log
from evstore.log.engine.base import Tx
from evstore.projections import checkpoints, executables, tree
from evstore.projections.checkpoints import Checkpoint
from evstore.store.store import Store, UnitOfWork


class Checkpoints:
    """The checkpoints of the files over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(self, path: ContentPath) -> list[Checkpoint]:
        """The labelled checkpoints and the latest others, oldest first. A path without a file has none.

        Jupyter says the same: JupyterLab may ask just while it renames the file, and would report an error.
        """

        def query(tx: Tx) -> list[Checkpoint]:
            entry = tree.entry_at(tx, path)
            return [] if entry is None else checkpoints.listed(tx, entry.id)

        await self._store.look(path)
        return await self._store.read(query)

    async def create(self, path: ContentPath, author: Author, label: str | None = None) -> Checkpoint:
        """Mark what the file holds now, with a label that keeps it listed if one is given."""

        def command(work: UnitOfWork) -> Checkpoint:
            (recorded,) = work.append(rules.checkpoint(_file(work.tx, path), label))
            return Checkpoint(recorded.offset, recorded.at, label)

        return await self._store.write(command, author, about=(path,))

    async def restore(self, path: ContentPath, offset: int, author: Author) -> None:
        """Give the file the bytes and the mode it had at `offset`, a checkpoint's or any other at which it existed."""

        def command(work: UnitOfWork) -> None:
            tx = work.tx
            entry = _file(tx, path)
            if not 1 <= offset <= log.head(tx).offset or tree.place(tx, entry.id, offset) is None:
                raise NotFound(f"Checkpoint does not exist: {path} was not there at offset {offset}.")
            source = log.resolve(tx, offset)
            work.append(as_it_was(tx, entry, entry.id, source))

        await self._store.write(command, author, about=(path,))

    async def delete(self, path: ContentPath, offset: int, author: Author) -> None:
        """Unmark. The contents stay in the history. Raises NotFound when there is no such checkpoint."""

        def command(work: UnitOfWork) -> None:
            entry = _file(work.tx, path)
            found = checkpoints.one(work.tx, entry.id, offset)
            if found is None:
                raise NotFound(f"Checkpoint does not exist: {path}@{offset}")
            work.append(rules.delete_checkpoint(entry, found.offset))

        await self._store.write(command, author)


def as_it_was(tx: Tx, entry: Entry, was: EntryId, source: Offset) -> Decision:
    """What gives a file the bytes and the mode that it, or the file `was`, had at the offset `source`. Raises NotFound."""
    executable = executables.is_executable(tx, was, source)
    decision = rules.restore(entry, tree.contents_at(tx, was, source), source)
    return decision + rules.set_executable(entry, executable, known=executables.is_executable(tx, entry.id))


def _file(tx: Tx, path: ContentPath) -> Entry:
    entry = tree.entry_at(tx, path)
    if entry is None:
        raise NotFound(f"No such file: {path}")
    return entry
