"""Files and directories: look up, list, save, create, move, copy, delete, trust.

Each method that changes something is one command: load what the rule must know, decide,
append, answer with the entry as it is afterwards.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from evstore.core import naming, rules
from evstore.core.entry import Entry
from evstore.core.errors import Invalid, NotFound
from evstore.core.events import DISK, ROOT, Author, Digest, EntryId, FileSaved, Kind, Offset, new_id
from evstore.core.paths import ContentPath, check_name
from evstore.log import log
from evstore.log.bodies import Body
from evstore.log.engine.base import Tx
from evstore.log.log import Moment
from evstore.projections import executables, history, tree, trust
from evstore.store.store import Depth, Store, UnitOfWork


class EntrySnapshot(NamedTuple):
    """An entry, and the moment of which this is true."""

    entry: Entry
    trusted: bool  # somebody has vouched for these bytes as a notebook
    offset: Offset  # the log's last event as of which this was read


class Listing(NamedTuple):
    """A directory with its members, by name."""

    entry: Entry
    members: list[Entry]
    offset: Offset


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveRequest:
    """A wish to save a file: its body, and what the writer expects to find there."""

    body: Body
    trusted: bool = False
    expected: frozenset[Digest] | None = None  # the file's present digest must be one of these
    present: bool = False  # there must be such a file
    absent: bool = False  # there must be no such file yet
    executable: bool | None = None  # whether it is a program now; None: as before, and a new one is none
    modified: int | None = None  # the date that it brings along, µs since 1970
    # the bytes, where no versions are kept and `body` tells their number only
    pieces: Iterable[bytes] | None = None


class Saved(NamedTuple):
    """The entry after a save, and whether the save made it."""

    entry: Entry
    created: bool


class Contents:
    """The tree of files and directories over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # -- reading ---------------------------------------------------------------------

    async def get(self, path: ContentPath, at: Moment | None = None) -> EntrySnapshot:
        """What is at `path` now, or as of `at`. Raises NotFound, or Invalid for an impossible moment."""

        def query(tx: Tx) -> EntrySnapshot:
            offset, moment = _moment(tx, at)
            entry = _require(tx, path, moment)
            trusted = entry.digest is not None and trust.is_trusted(tx, entry.digest)
            return EntrySnapshot(entry, trusted, offset)

        return await self._store.read(query)

    async def list(self, path: ContentPath, at: Moment | None = None) -> Listing:
        """A directory and what it holds, now or as of `at`. Raises NotFound, Invalid."""

        def query(tx: Tx) -> Listing:
            offset, moment = _moment(tx, at)
            entry = _require(tx, path, moment)
            if not entry.is_directory:
                raise Invalid(f"{path} is not a directory.")
            return Listing(entry, list(tree.members(tx, entry, moment)), offset)

        return await self._store.read(query)

    async def exists(self, path: ContentPath) -> Entry | None:
        """What is there by now, also on the disk."""
        await self._store.look(path, Depth.ITSELF)
        return await self._store.read(lambda tx: tree.entry_at(tx, path))

    def check_readable(self, path: ContentPath) -> None:
        """Raise Closed when what is at `path` now may not be read, whatever the log has of it."""

    def check_parents(self, path: ContentPath) -> None:
        """Before a save: raise NotFound when something without versions, as a link, is on the way to `path`, whatever the log has had there."""

    def change_token(self, path: ContentPath) -> Hashable:
        """What changes with a directory's members where that can happen without an event; None when there is nothing such."""
        return None

    async def read(self, entry: Entry) -> tuple[Entry, bytes]:
        """All bytes of a file, and what it was when they were read. Raises TooLarge when they are too many for that."""
        return entry, await self._store.body(entry.digest)

    async def with_digest(self, entry: Entry) -> Entry:
        """The entry with its digest, if it can have one."""
        return entry

    async def stream(self, entry: Entry, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes]:
        """A file's bytes from `start` to just before `stop`, a few MB at a time; fewer if it shrinks meanwhile."""
        async for block in self._store.stream(entry.digest, start, stop):
            yield block

    # -- writing ---------------------------------------------------------------------

    def has_versions(self, path: ContentPath, *, is_directory: bool = False, size: int = 0) -> bool:
        """Whether something of that size at `path` gets versions."""
        return True

    async def save(self, path: ContentPath, wish: SaveRequest, author: Author) -> Saved:
        """Give the file at `path` new bytes; make it if need be. Its directory must exist.

        If the disk has taken a file from there, alone or with its directory, it comes back with its history: a client
        that has it open has not heard of that, and saves it as ever. Raises NotFound, Invalid, or Conflict when the file is not as expected.
        """
        return await self._store.write(
            lambda work: save(work, path, wish, again=True), author, weight=wish.body.weight, about=(path,)
        )

    async def create_directory(self, path: ContentPath, author: Author) -> Saved:
        """A directory at `path`; nothing happens when there is one."""
        return await self._store.write(
            lambda work: make_directory(work, path), author, about=(path,), depth=Depth.ITSELF
        )

    async def create_untitled(
        self, directory: ContentPath, kind: str, extension: str, body: Body | None, author: Author
    ) -> Entry:
        """A new notebook, file or directory (`kind`) in `directory`, under a name that the server picks.

        A notebook is born with its first checkpoint, which the front ends would ask for next. Notebook 7 needs it at
        once: it starts the kernel only after that, and gives up when its own first save is answered sooner.
        """

        def command(work: UnitOfWork) -> Entry:
            _require_directory(work.tx, directory)
            name, insert = naming.untitled(kind, extension)
            check_name(name)
            path = directory.child(naming.first_free(name, _taken(work.tx, directory), insert=insert))
            if body is None:
                create(work, path, Kind.DIRECTORY)
                return _require(work.tx, path)
            entry = save(work, path, SaveRequest(body=body)).entry
            if kind == "notebook":
                work.append(rules.checkpoint(entry, None))
            return entry

        return await self._store.write(command, author, about=(directory,))

    async def move(self, path: ContentPath, to: ContentPath, author: Author) -> Entry:
        """Rename or move an entry. Raises NotFound, Exists, Invalid."""

        def command(work: UnitOfWork) -> Entry:
            entry = _require(work.tx, path)
            parent, occupant = tree.entry_at(work.tx, to.parent), tree.entry_at(work.tx, to)
            work.append(rules.move(entry, to, parent, occupant))
            return _require(work.tx, to)

        return await self._store.write(command, author, about=(path, to), depth=Depth.ITSELF)

    async def copy(
        self, source: ContentPath, to: ContentPath, author: Author, *, exact: bool = False
    ) -> Entry:
        """Copy a file, or a directory with all it holds, into the directory `to` under a numbered name.

        For a directory, `to` is made when it is not there, as in Jupyter. With `exact`, `to` is the
        path of the copy itself. No bytes are copied: both have the same body.
        """

        def command(work: UnitOfWork) -> Entry:
            entry = _require(work.tx, source)
            if not source:
                raise Invalid("The served folder itself can't be copied.")
            path = to if exact else _place_for_copy(work, entry, to)
            if path.is_below(source):
                raise Invalid(f"{source} can't be copied into itself.")
            copy(work, entry, path)
            return _require(work.tx, path)

        return await self._store.write(command, author, about=(source, to))

    async def delete(self, path: ContentPath, author: Author) -> None:
        """Take an entry out of the tree, a directory with all below it; it can be undeleted."""
        await self._store.write(
            lambda work: work.append(rules.delete(_require(work.tx, path))),
            author,
            about=(path,),
            depth=Depth.ALL,
        )

    async def trust(self, path: ContentPath, author: Author) -> None:
        """Vouch for a notebook as it is now, so that its outputs may run scripts."""

        def command(work: UnitOfWork) -> None:
            entry = _require(work.tx, path)
            known = entry.digest is not None and trust.is_trusted(work.tx, entry.digest)
            work.append(rules.trust(entry, known_trusted=known))

        await self._store.look(path)
        await self._store.write(command, author)


# -- parts of commands, which other services use too -----------------------------------


def save(work: UnitOfWork, path: ContentPath, wish: SaveRequest, *, again: bool = False) -> Saved:
    """Save a file within a command; with `again`, the one that the disk has taken from there, if it has."""
    tx = work.tx
    entry = tree.entry_at(tx, path)
    rules.expect(entry, path, wish.expected, present=wish.present, absent=wish.absent)
    created = entry is None
    if entry is None and again and not wish.absent:
        entry = _put_back(work, path)
    if entry is None:
        entry = create(work, path, Kind.FILE, created=wish.modified)
    known = wish.trusted and trust.is_trusted(tx, wish.body.digest)
    decision = rules.save(
        entry,
        wish.body.digest,
        wish.body.size,
        trusted=wish.trusted,
        known_trusted=known,
        modified=wish.modified,
    )
    if any(isinstance(event, FileSaved) for _, event in decision):
        work.put(wish.body)
    else:
        work.unchanged.append(entry.id)
    if wish.executable is not None:
        is_program = executables.is_executable(tx, entry.id)
        decision += rules.set_executable(entry, wish.executable, known=is_program)
    work.append(decision)
    return Saved(_require(tx, path), created)


def _put_back(work: UnitOfWork, path: ContentPath) -> Entry | None:
    """The file that the disk has taken from `path`, there again; None when there is no such file.

    Of a directory that has gone as well, no more than this file comes back.
    """
    was = _taken_by_disk(work.tx, path)
    if was is None:
        return None
    for depth in range(1, len(path.names)):
        directory = ContentPath("/".join(path.names[:depth]))
        if tree.entry_at(work.tx, directory) is None:
            create(work, directory, Kind.DIRECTORY)
    parent = tree.entry_at(work.tx, path.parent)
    work.append(rules.undelete(was, tree.path_of(work.tx, was), path, parent, None))
    return _require(work.tx, path)


def _taken_by_disk(tx: Tx, path: ContentPath) -> EntryId | None:
    """The file that was the last at `path`, if it has gone because the disk has deleted it, or a directory above it."""
    current = ROOT
    for name in path.names:
        place, member = tree.Place(current, name), tree.last_member(tx, current, name)
        if member is None:
            return None
        if tree.place(tx, member) != place:
            deletion = history.deletion(tx, member)
            if (
                deletion is None
                or deletion.actor != DISK
                or tree.place(tx, member, deletion.offset - 1) != place
            ):
                return None
        current = member
    return current if tree.kind_of(tx, current) is Kind.FILE and tree.path_of(tx, current) is None else None


def copy(work: UnitOfWork, entry: Entry, path: ContentPath) -> None:
    """Copy `entry` with all below it to `path`, within a command."""
    copies: dict[EntryId, ContentPath] = {}
    for found in list(tree.subtree(work.tx, entry)):
        target = path if found is entry else copies[found.parent].child(found.name)
        copies[found.id] = target
        new = create(work, target, found.kind, copied_from=found.id)
        if found.digest is not None:
            work.append(rules.save(new, found.digest, found.size or 0))
        if executables.is_executable(work.tx, found.id):
            work.append(rules.set_executable(new, True, known=False))


def create(
    work: UnitOfWork,
    path: ContentPath,
    kind: Kind,
    *,
    copied_from: EntryId | None = None,
    created: int | None = None,
) -> Entry:
    tx = work.tx
    parent, occupant = tree.entry_at(tx, path.parent), tree.entry_at(tx, path)
    decision = rules.create(
        path, parent, occupant, EntryId(new_id()), kind, copied_from=copied_from, created=created
    )
    work.append(decision)
    return _require(tx, path)


def make_directories(work: UnitOfWork, path: ContentPath) -> Entry:
    """The directory at `path`, made within a command if need be, as those above it."""
    for above in path.lineage:
        make_directory(work, above)
    return _require(work.tx, path)


def make_directory(work: UnitOfWork, path: ContentPath) -> Saved:
    """A directory at `path`, made within a command if need be."""
    occupant = tree.entry_at(work.tx, path)
    if occupant is None:
        return Saved(create(work, path, Kind.DIRECTORY), created=True)
    if not occupant.is_directory:
        raise Invalid(f"Not a directory: {path} is a file.")
    return Saved(occupant, created=False)


def _place_for_copy(work: UnitOfWork, entry: Entry, directory: ContentPath) -> ContentPath:
    """Where a copy of `entry` goes in `directory`, which is made for a directory's."""
    if entry.is_directory and tree.entry_at(work.tx, directory) is None:
        create(work, directory, Kind.DIRECTORY)
    _require_directory(work.tx, directory)
    return directory.child(
        naming.first_free(naming.copy_of(entry.name), _taken(work.tx, directory), insert="-Copy")
    )


def _taken(tx: Tx, directory: ContentPath) -> Callable[[str], bool]:
    return lambda name: tree.entry_at(tx, directory.child(name)) is not None


def _moment(tx: Tx, at: Moment | None) -> tuple[Offset, int]:
    """The offset to report, and the moment to ask the tree for."""
    if at is None:
        return log.head(tx).offset, tree.NOW
    offset = log.resolve(tx, at)
    return offset, offset


def _require(tx: Tx, path: ContentPath, at: int = tree.NOW) -> Entry:
    entry = tree.entry_at(tx, path, at)
    if entry is None:
        raise NotFound(f"No such file or directory: {path}")
    return entry


def _require_directory(tx: Tx, path: ContentPath) -> Entry:
    entry = tree.entry_at(tx, path)
    if entry is None or not entry.is_directory:
        raise NotFound(f"No such directory: {path}")
    return entry
