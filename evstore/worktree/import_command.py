"""From the disk to the log, second half: differences become events.

What an entry is on the disk goes with it through renames; what comes back to a place, or with its bytes, is
the entry that was there: histories go on. Large changes come in several lots (`lots.py`), each a transaction, under
one command id: so a `git checkout` is one group of events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from evstore.core import rules
from evstore.core.entry import Entry
from evstore.core.errors import Exists, NotFound
from evstore.core.events import EntryId, Kind, new_id
from evstore.core.paths import ContentPath
from evstore.core.rules import Decision
from evstore.projections import executables, tree
from evstore.store.store import UnitOfWork
from evstore.worktree.body_reader import FileRead
from evstore.worktree.disk.disk import FileStat, FileType
from evstore.worktree.index import IndexEntry
from evstore.worktree.scanner import ChangedFile, Differences, GoneEntry, NewPath


@dataclass(slots=True)
class Imported:
    """What a command has taken in."""

    known: dict[EntryId, IndexEntry] = field(
        default_factory=dict[EntryId, IndexEntry]
    )  # lies on the disk now
    again: set[ContentPath] = field(default_factory=set[ContentPath])  # directories to compare once more


def take(
    work: UnitOfWork, differences: Differences, read: Mapping[ContentPath, FileRead], *, with_modes: bool
) -> Imported:
    """A command, or a part of one: let the tree be what was found on the disk, `with_modes` also which files are programs.

    What has changed in the tree since the comparison is left for another one.
    """
    return _Taking(work, read, with_modes=with_modes).all(differences)


class _Taking:
    def __init__(self, work: UnitOfWork, read: Mapping[ContentPath, FileRead], *, with_modes: bool) -> None:
        self._work = work
        self._read = read
        self._with_modes = with_modes
        self._taken = Imported()
        self._made: dict[ContentPath, Entry] = {}  # by this command, and not in the tables yet
        self._decision: Decision = []

    def all(self, differences: Differences) -> Imported:
        """Directories first, then what was renamed, what went, what came, and what was changed."""
        appeared = differences.appeared
        directories = {one.found.path: one for one in appeared if one.found.what is FileType.DIRECTORY}
        files = [one for one in appeared if one.found.path in self._read]
        for one in differences.gone:
            if one.path in directories:  # a file has become a directory
                self._try(one.path, partial(self._delete, one))
        self._flush()
        for path in sorted(directories):
            self._try(path, partial(self._directory, directories[path]))
        self._flush()
        moved = self._renames(files, differences.gone)
        for one in differences.gone:
            if one.entry not in moved and one.path not in directories:
                self._try(one.path, partial(self._delete, one))
        self._flush()
        for one in files:
            self._try(one.found.path, partial(self._file, one))
        for one in differences.changed:
            if one.found.path in self._read:
                self._try(one.found.path, partial(self._change, one))
        self._flush()
        return self._taken

    def _try(self, path: ContentPath, step: Callable[[], None]) -> None:
        try:
            step()
        except rules.REFUSALS:  # the tree is not as it was compared with
            self._taken.again.add(path.parent)

    # -- steps -----------------------------------------------------------------------

    def _directory(self, one: NewPath) -> None:
        path = one.found.path
        was = one.was or self._last_at(path, Kind.DIRECTORY)
        if was is not None:
            self._put_back(was, path)
            self._taken.again.add(path)  # what it held came along, and need not be there
        entry = self._at(path) or self._create(path, Kind.DIRECTORY, one.found)
        if not entry.is_directory:
            raise Exists(f"{path} is a file in the log and a directory on the disk")
        self._taken.known[entry.id] = IndexEntry(one.found.stamp, None)

    def _renames(self, files: Sequence[NewPath], gone: Sequence[GoneEntry]) -> set[EntryId]:
        """Move the entries that have another name now, told by their inode or else by their bytes."""
        moved: set[EntryId] = set()
        lost = {one.digest: one.entry for one in gone if one.kind is Kind.FILE and one.digest is not None}
        for by_inode in (True, False):
            for one in files:
                path, body = one.found.path, self._read[one.found.path].body
                was = one.was if by_inode else lost.get(body.digest) if body.size else None
                if was is None or was in moved or self._at(path) is not None:
                    continue
                self._try(path, partial(self._put_back, was, path))
                moved.add(was)
        return moved

    def _put_back(self, was: EntryId, path: ContentPath) -> None:
        """Have an entry that is in the tree, or was deleted, at `path`."""
        self._flush()
        tx = self._work.tx
        entry, parent, occupant = tree.by_id(tx, was), tree.entry_at(tx, path.parent), tree.entry_at(tx, path)
        if entry is not None:
            self._work.append(rules.move(entry, path, parent, occupant))
        else:
            self._work.append(rules.undelete(was, None, path, parent, occupant))

    def _delete(self, one: GoneEntry) -> None:
        entry = tree.by_id(self._work.tx, one.entry)
        if entry is None or entry.path != one.path or entry.digest != one.digest:
            raise NotFound(f"{one.path} is not what it was")
        self._decision += rules.delete(entry)

    def _file(self, one: NewPath) -> None:
        path = one.found.path
        entry = self._at(path)
        if entry is None and (was := self._last_at(path, Kind.FILE)) is not None:
            self._put_back(was, path)
            entry = self._at(path)
        self._save(entry or self._create(path, Kind.FILE, one.found), path)

    def _change(self, one: ChangedFile) -> None:
        entry = tree.by_id(self._work.tx, one.entry)
        if entry is None or entry.path != one.found.path or entry.digest != one.digest:
            raise NotFound(f"{one.found.path} is not what it was")
        self._save(entry, one.found.path)

    # -- parts of steps --------------------------------------------------------------

    def _save(self, entry: Entry, path: ContentPath) -> None:
        body, found, stamp = self._read[path]
        if stamp != found.stamp:
            self._taken.again.add(path.parent)
        if body.size == 0 and entry.digest is None:  # nothing was ever saved, and nothing is there
            self._taken.known[entry.id] = IndexEntry(stamp, None)
            self._set_executable(entry, found)
            return
        events = rules.save(entry, body.digest, body.size, modified=found.modified)
        if events:
            self._work.put(body)
        self._decision += events
        self._taken.known[entry.id] = IndexEntry(stamp, body.digest)
        self._set_executable(entry, found)

    def _set_executable(self, entry: Entry, found: FileStat) -> None:
        if self._with_modes:
            known = found.path not in self._made and executables.is_executable(self._work.tx, entry.id)
            self._decision += rules.set_executable(entry, found.executable, known=known)

    def _create(self, path: ContentPath, kind: Kind, found: FileStat) -> Entry:
        parent, new = self._at(path.parent), EntryId(new_id())
        entry, events = rules.make(path, parent, new, kind, at=found.modified)
        self._decision += events
        self._made[path] = entry
        return entry

    def _last_at(self, path: ContentPath, kind: Kind) -> EntryId | None:
        """The deleted entry that was the last at `path`: what comes back there is that."""
        tx = self._work.tx
        parent = self._at(path.parent)
        if parent is None or path.parent in self._made:
            return None
        was = tree.last_member(tx, parent.id, path.name)
        if was is None or tree.kind_of(tx, was) is not kind or tree.path_of(tx, was) is not None:
            return None
        return was

    def _at(self, path: ContentPath) -> Entry | None:
        return self._made.get(path) or tree.entry_at(self._work.tx, path)

    def _flush(self) -> None:
        self._work.append(self._decision)
        self._decision = []
        self._made.clear()
