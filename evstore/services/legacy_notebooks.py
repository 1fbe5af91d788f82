"""What old clients do with notebooks and new ones do otherwise: by id, and saving and renaming in one.

A notebook's id is its entry's, so it stays the same wherever the notebook is moved. Each method that changes
something is one command: nothing can come between the look at the id and what is done to its notebook.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from evstore.core import naming, rules
from evstore.core.entry import Entry
from evstore.core.errors import Exists, Invalid, NotFound
from evstore.core.events import Author, EntryId, format_id
from evstore.core.paths import ContentPath, check_name
from evstore.log import log
from evstore.log.engine.base import Tx
from evstore.projections import tree, trust
from evstore.services import contents
from evstore.services.contents import EntrySnapshot, Saved, SaveRequest
from evstore.store.store import Store, UnitOfWork

T = TypeVar("T")
EXTENSION = ".ipynb"


class OldNotebooks:
    """The notebooks over a store, as the servers before Jupyter knew them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # -- by path ---------------------------------------------------------------------

    async def get(self, path: ContentPath) -> EntrySnapshot:
        """The notebook at `path`. Raises NotFound."""
        return await self._store.read(lambda tx: _found(tx, _at(tx, path)))

    async def create(
        self, directory: ContentPath, name: str | None, wish: SaveRequest, author: Author
    ) -> Entry:
        """A new notebook in `directory`; a name that is taken, or None, gets a number. Raises NotFound, Invalid."""

        def command(work: UnitOfWork) -> Entry:
            wanted = with_extension(name) if name else naming.untitled("notebook")[0]
            check_name(wanted)
            return contents.save(work, _free(work.tx, directory, wanted), wish).entry

        return await self._store.write(command, author, weight=wish.body.weight, about=(directory,))

    async def save(self, path: ContentPath, to: ContentPath, wish: SaveRequest, author: Author) -> Saved:
        """Save the notebook at `path`, and move it to `to` if that is another place; make it if it is new.

        A new one is made at `path`. Raises NotFound, Exists (`to` is taken), Invalid, Conflict.
        """

        def command(work: UnitOfWork) -> Saved:
            entry = tree.entry_at(work.tx, path)
            if entry is None:
                return contents.save(work, path, wish, again=True)
            _move(work, entry, to)
            return contents.save(work, to, wish)

        return await self._store.write(command, author, weight=wish.body.weight, about=(path, to))

    async def rename(self, path: ContentPath, to: ContentPath, author: Author) -> Entry:
        """Rename or move the notebook at `path`. Raises NotFound, Exists, Invalid."""

        def command(work: UnitOfWork) -> Entry:
            _move(work, _at(work.tx, path), to)
            return _at(work.tx, to)

        return await self._store.write(command, author, about=(path, to))

    async def copy(
        self, source: ContentPath, directory: ContentPath, to: ContentPath | None, author: Author
    ) -> Entry:
        """Copy the notebook at `source` to `to`, or into `directory` under a name with a number."""

        def command(work: UnitOfWork) -> Entry:
            entry = _at(work.tx, source)
            return _copy(work, entry, to or _free_for_copy(work.tx, entry, directory))

        return await self._store.write(command, author, about=(source, to or directory))

    async def delete(self, path: ContentPath, author: Author) -> None:
        """Take the notebook at `path` out of the tree. Raises NotFound."""
        await self._store.write(
            lambda work: work.append(rules.delete(_at(work.tx, path))), author, about=(path,)
        )

    # -- by id -----------------------------------------------------------------------

    async def find(self, entry: EntryId) -> EntrySnapshot:
        """The notebook of this id. Raises NotFound: never there, deleted, hidden, or no notebook."""
        return await self._store.read(lambda tx: _found(tx, _by_id(tx, entry)))

    async def save_by_id(self, entry: EntryId, name: str | None, wish: SaveRequest, author: Author) -> Entry:
        """Save the notebook of this id, and rename it in its folder if `name` is another."""

        def command(work: UnitOfWork) -> Entry:
            found = _by_id(work.tx, entry)
            if name:
                check_name(with_extension(name))
            to = found.path.parent.child(with_extension(name)) if name else found.path
            _move(work, found, to)
            return contents.save(work, to, wish).entry

        return await self._write(entry, command, author, weight=wish.body.weight)

    async def copy_by_id(self, entry: EntryId, author: Author) -> Entry:
        """A copy of the notebook of this id beside it."""

        def command(work: UnitOfWork) -> Entry:
            found = _by_id(work.tx, entry)
            return _copy(work, found, _free_for_copy(work.tx, found, found.path.parent))

        return await self._write(entry, command, author)

    async def delete_by_id(self, entry: EntryId, author: Author) -> None:
        """Take the notebook of this id out of the tree."""
        await self._write(entry, lambda work: work.append(rules.delete(_by_id(work.tx, entry))), author)

    async def _write(
        self, entry: EntryId, command: Callable[[UnitOfWork], T], author: Author, *, weight: int = 0
    ) -> T:
        """Run `command`, which knows what the notebook is in the folder by then."""
        path = (await self.find(entry)).entry.path
        return await self._store.write(command, author, weight=weight, about=(path,))


def is_notebook(entry: Entry | None) -> bool:
    """Whether old clients are shown it as a notebook."""
    return (
        entry is not None
        and not entry.is_directory
        and entry.name.endswith(EXTENSION)
        and not entry.path.hidden
    )


def with_extension(name: str) -> str:
    """A notebook's file name: the oldest clients leave the extension off."""
    return name if name.endswith(EXTENSION) else name + EXTENSION


def _at(tx: Tx, path: ContentPath) -> Entry:
    entry = tree.entry_at(tx, path)
    if entry is None or not is_notebook(entry):
        raise NotFound(f"Notebook does not exist: {path}")
    return entry


def _by_id(tx: Tx, entry: EntryId) -> Entry:
    found = tree.by_id(tx, entry)
    if found is None or not is_notebook(found):
        raise NotFound(f"Notebook does not exist: {format_id(entry)}")
    return found


def _found(tx: Tx, entry: Entry) -> EntrySnapshot:
    trusted = entry.digest is not None and trust.is_trusted(tx, entry.digest)
    return EntrySnapshot(entry, trusted, log.head(tx).offset)


def _move(work: UnitOfWork, entry: Entry, to: ContentPath) -> None:
    if not to.name.endswith(EXTENSION):
        raise Invalid(f"{to.name!r}: the name of a notebook ends with {EXTENSION}.")
    parent, occupant = tree.entry_at(work.tx, to.parent), tree.entry_at(work.tx, to)
    if occupant is not None and occupant.id != entry.id:
        raise Exists(f"Notebook with name already exists: {to}")
    work.append(rules.move(entry, to, parent, occupant))


def _copy(work: UnitOfWork, entry: Entry, to: ContentPath) -> Entry:
    contents.copy(work, entry, to)
    return _at(work.tx, to)


def _free(tx: Tx, directory: ContentPath, name: str, *, insert: str = "") -> ContentPath:
    def taken(name: str) -> bool:
        return tree.entry_at(tx, directory.child(name)) is not None

    return directory.child(naming.first_free(name, taken, insert=insert))


def _free_for_copy(tx: Tx, entry: Entry, directory: ContentPath) -> ContentPath:
    return _free(tx, directory, naming.copy_of(entry.name), insert="-Copy")
