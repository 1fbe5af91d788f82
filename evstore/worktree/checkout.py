"""From the log to the disk: each event is carried out in the folder. What is missing after a crash, `catching_up.py` finds.

What lies on the disk and is in no version of the file is never written over: it stays, and becomes
the newest version (`comparing.py` finds it).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from evstore.core.entry import Entry
from evstore.core.errors import EvstoreError
from evstore.core.events import (
    ROOT,
    Digest,
    EntryCreated,
    EntryDeleted,
    EntryId,
    EntryMoved,
    EntryUndeleted,
    ExecutableChanged,
    FileRestored,
    FileSaved,
    Kind,
    Offset,
    Recorded,
)
from evstore.core.paths import ContentPath
from evstore.log import bodies
from evstore.log.engine.base import Tx
from evstore.projections import executables, tree
from evstore.worktree.disk.disk import Changed, Disk, FileStat, FileType, Occupied, StatStamp
from evstore.worktree.index import Index, IndexEntry
from evstore.worktree.power_loss import PowerLoss
from evstore.worktree.trash.removal import EMPTY, Remover, has_body, read_digest, trash_name
from evstore.worktree.trash.undelete import bring_back

logger = logging.getLogger(__name__)

Plain = Mapping[Digest, bytes]  # bodies that are in memory anyway
NEVER_MADE = IndexEntry(StatStamp(0, 0, 0, 0), None)  # of a directory that could not be made


@dataclass(slots=True)
class Outcome:
    """What came of writing to the disk."""

    failed: dict[Offset, EvstoreError] = field(default_factory=dict[Offset, EvstoreError])  # events
    refused: dict[EntryId, EvstoreError] = field(default_factory=dict[EntryId, EvstoreError])  # to be written
    dirty: set[ContentPath] = field(default_factory=set[ContentPath])  # directories to look at again
    written: set[ContentPath] = field(default_factory=set[ContentPath])  # what was changed by us
    files: dict[ContentPath, StatStamp] = field(
        default_factory=dict[ContentPath, StatStamp]
    )  # written as a whole
    moved: bool = False  # paths lead elsewhere than before
    discarded: bool = False  # something went to the trash that the log has
    doubtful: bool = False  # everything is to be looked at again


class Checkout:
    """Carries events out in the folder. For one thread."""

    def __init__(self, disk: Disk, state: Index, is_left_out: Callable[[FileStat], bool]) -> None:
        self._disk = disk
        self._index = state
        self.remover = Remover(disk, state, is_left_out)
        self.power_loss: PowerLoss | None = None  # what is damaged is written over
        self.is_alone = False  # nobody looks at the disk: what is to be deleted has not been taken in

    def apply(self, tx: Tx, recorded: Sequence[Recorded], plain: Plain) -> Outcome:
        """Do on the disk what these events say, in their order, just after they have happened."""
        outcome = Outcome()
        last = {one.entry: one.offset for one in recorded if isinstance(one.event, FileSaved | FileRestored)}
        for one in recorded:
            outcome.moved |= isinstance(one.event, EntryMoved | EntryDeleted | EntryUndeleted)
            try:
                self._carry_out(tx, one, last.get(one.entry), plain, outcome)
            except EvstoreError as error:
                outcome.failed[one.offset] = error
                self._did_not_happen(tx, one, error, outcome)
        return outcome

    def _did_not_happen(self, tx: Tx, one: Recorded, error: EvstoreError, outcome: Outcome) -> None:
        """Bytes wait to be written; otherwise the log shall follow the disk, which a comparison sees to."""
        entry, offset = one.entry, one.offset
        if isinstance(one.event, FileSaved | FileRestored | EntryUndeleted) or (
            isinstance(one.event, EntryCreated) and one.event.kind is Kind.FILE
        ):
            outcome.refused[entry] = error
            return
        if isinstance(one.event, EntryCreated):
            self._index.note(entry, NEVER_MADE)  # so it is missed, and no file that must be written yet
        places = (tree.path_of(tx, entry, moment) for moment in (offset - 1, offset))
        outcome.dirty.update(path.parent for path in places if path is not None)

    def _carry_out(
        self, tx: Tx, one: Recorded, last_save: Offset | None, plain: Plain, outcome: Outcome
    ) -> None:
        entry, offset = one.entry, one.offset
        match one.event:
            case EntryCreated(kind=Kind.FILE) if last_save is not None:
                return  # made with its bytes in one go
            case EntryCreated():
                self.write(tx, tree.by_id(tx, entry, offset), plain, outcome)
            case FileSaved() | FileRestored():
                if offset == last_save:
                    self.write(tx, tree.by_id(tx, entry, offset), plain, outcome)
            case EntryMoved():
                old, new = tree.path_of(tx, entry, offset - 1), tree.path_of(tx, entry, offset)
                if old is not None and new is not None:
                    self._move(tx, entry, old, new, outcome)
            case EntryDeleted():
                old = tree.path_of(tx, entry, offset - 1)
                if old is not None:
                    self._delete(tx, one, old, outcome)
            case EntryUndeleted():
                self._undelete(tx, tree.by_id(tx, entry, offset), offset, plain, outcome)
            case ExecutableChanged(executable=executable):
                self.set_executable(tx, tree.by_id(tx, entry, offset), executable, outcome)
            case _:
                pass

    def write_out(self, tx: Tx, entries: Iterable[EntryId]) -> Outcome:
        """Have these, with all that is below, on the disk as they are in the tree."""
        outcome = Outcome()
        for entry in entries:
            found = tree.by_id(tx, entry)
            for one in tree.subtree(tx, found) if found is not None else ():
                try:
                    self.write(tx, one, {}, outcome)
                except EvstoreError as error:
                    outcome.refused[one.id] = error
        return outcome

    def write_all(self, tx: Tx, entries: Iterable[Entry], plain: Plain, outcome: Outcome) -> None:
        """`write` them, and when that fails, miss those that are not there: what can't be written is not gone."""
        entries = list(entries)
        for entry in entries:
            if self._disk.look(entry.path) is None:
                self._index.note(entry.id, None)
        for entry in entries:
            self.write(tx, entry, plain, outcome)

    # -- one entry -------------------------------------------------------------------

    def write(self, tx: Tx, entry: Entry | None, plain: Plain, outcome: Outcome) -> None:
        """Have it on the disk as it is in the tree, unless something newer is there. Raises as `Disk.write`."""
        if entry is None or entry.id == ROOT:
            return
        self.ensure_parents(entry.path, outcome)
        found = self._disk.look(entry.path)
        if entry.is_directory:
            if found is not None and found.what is not FileType.DIRECTORY:
                self.set_aside(found, outcome)
            self._index.note(entry.id, IndexEntry(self._disk.make_directory(entry.path), None))
            outcome.written.add(entry.path)
            return
        if found is not None and not self._may_replace(tx, entry, found, outcome):
            return
        pieces = self._pieces(tx, entry.digest, plain)
        replacing = found.stamp if found is not None and found.what is FileType.FILE else "nothing"
        executable = replacing == "nothing" and executables.is_executable(tx, entry.id)
        try:
            stamp = self._disk.write(
                entry.path, pieces, modified=entry.modified, replacing=replacing, executable=executable
            )
        except Changed:  # at the last moment: that is the newest version then
            outcome.dirty.add(entry.path.parent)
            return
        known = stamp.as_written()
        self._index.note(entry.id, IndexEntry(known, entry.digest))
        outcome.written.add(entry.path)
        if known == stamp:
            outcome.files[entry.path] = stamp

    def set_executable(self, tx: Tx, entry: Entry | None, executable: bool, outcome: Outcome) -> None:
        """Change the mode of what lies there. Whether that is what should, its stamp tells as before."""
        found = None if entry is None else self._disk.look(entry.path)
        if entry is None or found is None or found.executable == executable or not self._disk.keeps_modes:
            return
        before, stamp = self._disk.set_executable(entry.path, executable)
        outcome.written.add(entry.path)
        known = self._index.known(tx, entry.id)
        if known is not None and known.stamp == before and stamp.is_moved(before):
            self._index.note(entry.id, IndexEntry(stamp, known.digest))
            outcome.files[entry.path] = stamp

    def _may_replace(self, tx: Tx, entry: Entry, found: FileStat, outcome: Outcome) -> bool:
        """Whether what lies there is known to the log, and is not what shall lie there already."""
        if found.what is not FileType.FILE:
            self.set_aside(found, outcome)
            return True
        known = self._index.known(tx, entry.id)
        if known is not None and known.stamp == found.stamp:
            return known.digest != entry.digest
        began = time.time_ns()
        digest, found = read_digest(self._disk, found.path)
        if (digest or EMPTY) == (entry.digest or EMPTY):
            self._index.note(entry.id, IndexEntry(found.stamp.as_read(began), entry.digest))
            return False
        if has_body(tx, digest) or (self.power_loss and self.power_loss.is_damage(tx, entry.id, found)):
            return True
        outcome.dirty.add(entry.path.parent)
        return False

    def _pieces(self, tx: Tx, digest: Digest | None, plain: Plain) -> Iterable[bytes]:
        if digest is None:
            return ()
        held = plain.get(digest)
        return (held,) if held is not None else bodies.chunks(tx, bodies.manifest(tx, digest))

    def ensure_parents(self, path: ContentPath, outcome: Outcome) -> None:
        """Make the directories above `path` again that somebody has just removed: what is saved comes later."""
        missing: list[ContentPath] = []
        while (path := path.parent) and self._disk.look(path) is None:
            missing.append(path)
        for path in reversed(missing):
            self._disk.make_directory(path)
            outcome.dirty |= {path, path.parent}

    def _move(self, tx: Tx, entry: EntryId, old: ContentPath, new: ContentPath, outcome: Outcome) -> None:
        before = self._disk.look(old)
        if before is None:  # somebody was quicker
            outcome.dirty |= {old.parent, new.parent}
            return
        self.ensure_parents(new, outcome)
        try:
            self._disk.rename(old, new)
        except Occupied:
            if (found := self._disk.look(new)) is not None:
                self.set_aside(found, outcome)
            self._disk.rename(old, new)
        known = self._index.known(tx, entry)
        if known is not None and known.stamp == before.stamp:
            self._note_moved(entry, known, new)
        outcome.written |= {old, new}

    def _note_moved(self, entry: EntryId, known: IndexEntry, path: ContentPath) -> None:
        """The rename has given the file another ctime, for which it need not be read."""
        found = self._disk.look(path)
        if found is not None and found.stamp.is_moved(known.stamp):
            self._index.note(entry, IndexEntry(found.stamp, known.digest))

    def _delete(self, tx: Tx, one: Recorded, path: ContentPath, outcome: Outcome) -> None:
        """A file that is known is removed; what may not be in the log goes to the trash, a directory for now, or stays."""
        found = self._disk.look(path)
        if found is None:
            return
        is_file = found.what is FileType.FILE
        if self.is_alone and not (is_file and self.remover.is_in_log(tx, found)):
            self.remover.put_away(tx, found, one.offset)
        elif is_file:
            self.remover.remove(tx, found, self._index.known(tx, one.entry))
        elif found.what is FileType.DIRECTORY:
            self._disk.discard(path, trash_name(path, one))
            outcome.discarded = True
        else:
            self._disk.discard(path, trash_name(path))
        self._index.note(one.entry, None)
        outcome.written.add(path)

    def _undelete(self, tx: Tx, top: Entry | None, offset: Offset, plain: Plain, outcome: Outcome) -> None:
        """From the trash, for what has no versions is nowhere else; what the log has can be written in any case."""
        try:
            if top is not None and top.is_directory:
                self.ensure_parents(top.path, outcome)
                if bring_back(tx, self._disk, top, offset):
                    outcome.dirty.add(top.path)
        except EvstoreError as error:
            logger.warning("What had no versions stays in .evstore/trash: %s", error.message)
        self.write_all(tx, [] if top is None else tree.subtree(tx, top, offset), plain, outcome)

    def set_aside(self, found: FileStat, outcome: Outcome) -> None:
        """Give something unknown that is in the way another name; it will be taken in under that."""
        free = next(path for path in _others(found.path) if self._disk.look(path) is None)
        self._disk.rename(found.path, free)
        logger.warning("%s was in the way of what was saved there; it is %s now.", found.path, free)
        outcome.dirty.add(found.path.parent)


def _others(path: ContentPath) -> Iterator[ContentPath]:
    stem, dot, extension = path.name.rpartition(".")
    number = 1
    while True:
        name = f"{stem}-disk{number}.{extension}" if dot and stem else f"{path.name}-disk{number}"
        yield path.parent.child(name)
        number += 1
