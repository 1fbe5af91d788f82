"""After a crash: what the disk lacks of the log is done, whatever part of it it has already."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress

from evstore.core.entry import Entry
from evstore.core.errors import EvstoreError
from evstore.core.events import Digest, EntryId, Offset
from evstore.core.paths import ContentPath
from evstore.log.engine.base import Tx
from evstore.projections import executables, tree
from evstore.worktree.changes_since import ChangesSince, changes_since, places
from evstore.worktree.checkout import Checkout, Outcome
from evstore.worktree.disk.disk import Disk, FileStat, FileType
from evstore.worktree.index import Index, IndexEntry
from evstore.worktree.trash.removal import EMPTY, has_body, read_digest, trash_name
from evstore.worktree.trash.undelete import bring_back

logger = logging.getLogger(__name__)

ASIDE = "moving-"  # how the names in the trash begin of what waits for its place


class Recovery:
    """For one thread, and one start. It knows what stands where it should not; `writer` does the rest."""

    def __init__(self, disk: Disk, state: Index, writer: Checkout) -> None:
        self._disk = disk
        self._index = state
        self._writer = writer

    def catch_up(self, tx: Tx, after: int) -> Outcome:
        """Do what the disk lacks of the events past `after`, whatever part of them it has already.

        What stands elsewhere than it should is first taken out of the tree, the deepest first, and then put into
        its place from the top down: so it does not matter who stood where in between.
        """
        outcome, since = Outcome(), changes_since(tx, after)
        for entry, offset in since.undeleted.items():
            self._bring_back(tx, tree.by_id(tx, entry, offset), offset)
        stood = {entry: places(tx, entry, (*own, *since.shared)) for entry, own in since.touched.items()}
        lifted, stuck = self._park_all(tx, stood, since, outcome)
        here = [found for entry in stood if (found := tree.by_id(tx, entry)) is not None]
        here = [one for one in here if not any(one.path == at or one.path.is_below(at) for at in stuck)]
        here.sort(key=lambda found: len(found.path.names))
        self._unpark_all(tx, here, stood, lifted, since, outcome)
        # nothing waits for its place any more: what is written is in nobody's way
        for found in here:
            if found.id not in outcome.refused:
                try:
                    self._complete(tx, found, after, since, outcome)
                except EvstoreError as error:
                    outcome.refused[found.id] = error
        self._settle()
        return outcome

    def _park_all(
        self, tx: Tx, stood: Mapping[EntryId, set[ContentPath]], since: ChangesSince, outcome: Outcome
    ) -> tuple[dict[EntryId, ContentPath], set[ContentPath]]:
        """What waits for another place, with the one that it had; and the places of what could not be lifted.

        What belongs at or below these is left to the comparison.
        """
        lifted: dict[EntryId, ContentPath] = {}
        stuck: set[ContentPath] = set()
        for entry in sorted(stood, key=lambda entry: -max((len(p.names) for p in stood[entry]), default=0)):
            try:
                if (was := self._park(tx, entry, stood[entry], since, outcome)) is not None:
                    lifted[entry] = was
            except EvstoreError as error:
                outcome.refused[entry] = error
                outcome.dirty.update(path.parent for path in stood[entry])
                if (now := tree.path_of(tx, entry)) is not None:
                    stuck.add(now)
        return lifted, stuck

    def _unpark_all(
        self,
        tx: Tx,
        entries: Iterable[Entry],
        stood: Mapping[EntryId, set[ContentPath]],
        lifted: Mapping[EntryId, ContentPath],
        since: ChangesSince,
        outcome: Outcome,
    ) -> None:
        for entry in entries:
            try:
                self._unpark(entry, outcome, was_lifted=entry.id in lifted)
                if (undeleted := since.undeleted.get(entry.id)) is not None:
                    self._writer.ensure_parents(entry.path, outcome)
                    self._bring_back(tx, entry, undeleted)
            except EvstoreError as error:
                outcome.refused[entry.id] = error
                # one that an ended start has lifted may have been at any of its places
                self._put_back(
                    entry.id, (lifted[entry.id],) if entry.id in lifted else sorted(stood[entry.id])
                )

    def _bring_back(self, tx: Tx, directory: Entry | None, offset: Offset) -> None:
        """From the trash, with what has no versions, if it is there as a whole: to where it came, or where it belongs by now."""
        if directory is None or not directory.is_directory:
            return
        try:
            parent = self._disk.look(directory.path.parent)
            if parent is None or parent.what is not FileType.DIRECTORY:
                return
            if bring_back(tx, self._disk, directory, offset) and (found := self._disk.look(directory.path)):
                # by which it is found if it has moved since
                self._index.note(directory.id, IndexEntry(found.stamp, None))
        except EvstoreError as error:
            logger.warning("What had no versions stays in .evstore/trash: %s", error.message)

    def _park(
        self, tx: Tx, entry: EntryId, stood: set[ContentPath], since: ChangesSince, outcome: Outcome
    ) -> ContentPath | None:
        """Take away what is on the disk for an entry at a place where it does not belong now. From where, if it waits for another."""
        now = tree.path_of(tx, entry)
        waits: ContentPath | None = None
        there = None if now is None else self._disk.look(now)
        if there is not None and self._is(tx, entry, there):
            return None  # what has its old name by now is something else
        for path in stood - {now}:
            found = self._disk.look(path)
            if found is not None and self._is(tx, entry, found):
                outcome.dirty.add(path.parent)
                if now is None and self._is_later(tx, entry, found, since):
                    break
                if now is None:
                    lost = tree.deletion(tx, entry)
                    self._writer.remover.put_away(tx, found, 0 if lost is None or lost.below else lost.offset)
                else:
                    self._free(_aside(entry))
                    self._disk.discard(path, _aside(entry))
                    waits = path
                break
        # below something deleted it would be missed, and written, if that came back
        if tree.place(tx, entry) is None:
            self._index.note(entry, None)
        return waits

    def _is(self, tx: Tx, entry: EntryId, found: FileStat) -> bool:
        """Whether what lies there is what was written for `entry`: just that, or what somebody has made of it since.

        An inode that is free is given anew at once, so it shows nothing where a file is not as it was known.
        """
        known = self._index.known(tx, entry)
        has_inode = known is not None and known.stamp.inode == found.stamp.inode
        if found.what is not FileType.FILE or (known is not None and found.stamp.is_moved(known.stamp)):
            return has_inode
        digest, _ = read_digest(self._disk, found.path)
        if _has_had(tx, entry, digest):
            other = tree.entry_at(tx, found.path)
            return other is None or other.id == entry or not _has_had(tx, other.id, digest)
        return has_inode and not has_body(tx, digest)

    def _is_later(self, tx: Tx, entry: EntryId, found: FileStat, since: ChangesSince) -> bool:
        """Whether somebody has written a file after all that the log has of it, as by a `git checkout`: then that stays.

        What we write has the date of its event, so that one which is older than the log is not taken for it.
        """
        known = self._index.known(tx, entry)
        last = since.last[entry]
        return (
            found.what is FileType.FILE
            and (known is None or known.stamp != found.stamp)
            and found.modified > last
            and found.stamp.ctime_ns > last * 1000
        )

    def _unpark(self, entry: Entry, outcome: Outcome, *, was_lifted: bool) -> None:
        """Bring back to its place what was put aside for an entry, by this start or by one that was ended in it."""
        if not self._disk.trashed.has(_aside(entry.id)):
            return
        self._writer.ensure_parents(entry.path, outcome)
        if (occupant := self._disk.look(entry.path)) is not None:
            if not was_lifted:  # an old one: the entry need not be missing
                return
            self._writer.set_aside(occupant, outcome)
        self._disk.recover(_aside(entry.id), entry.path)

    def _complete(self, tx: Tx, entry: Entry, after: int, since: ChangesSince, outcome: Outcome) -> None:
        """Write what an entry that stands in its place lacks there."""
        found = self._disk.look(entry.path)
        if found is not None and self._is_later(tx, entry.id, found, since):
            outcome.dirty.add(entry.path.parent)
            return
        came_back = entry.is_directory and (
            entry.id in since.undeleted or tree.path_of(tx, entry.id, after) is None
        )
        self._writer.write_all(tx, tree.subtree(tx, entry) if came_back else (entry,), {}, outcome)
        if entry.id in since.modes:
            self._writer.set_executable(tx, entry, executables.is_executable(tx, entry.id), outcome)

    def _put_back(self, entry: EntryId, places: Iterable[ContentPath]) -> None:
        """Its new place can't be reached: so it stays where it was, and the comparison finds it there."""
        for was in places:
            with suppress(EvstoreError):  # then it is left in the trash, which is told
                if self._disk.trashed.has(_aside(entry)):
                    self._disk.recover(_aside(entry), was)

    def _settle(self) -> None:
        """What waits for a place now is trash like any other: the next start must not take it for its own."""
        try:
            for name in self._disk.trashed.names():
                if name.startswith(ASIDE):
                    logger.warning("What was left of a start is in .evstore/trash now: %s", self._free(name))
        except EvstoreError as error:
            logger.warning("What was left of a start is in .evstore/trash: %s", error.message)

    def _free(self, aside: str) -> str:
        """Give what has been put aside under a name, if anything, an ordinary name in the trash. Returns that."""
        name = trash_name(ContentPath(aside))
        if self._disk.trashed.has(aside):
            self._disk.trashed.rename(aside, name)
        return name


def _has_had(tx: Tx, entry: EntryId, digest: Digest | None) -> bool:
    """Whether a file has ever had these bytes."""
    query = "select 1 from contents where entry = ? and digest = ?"
    return tx.row(query, (entry, digest or EMPTY)) is not None


def _aside(entry: EntryId) -> str:
    """Where in the trash something waits for its place."""
    return f"{ASIDE}{entry.hex()}"
