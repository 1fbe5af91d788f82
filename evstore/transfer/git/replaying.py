"""What a commit changed, done to the log's tree. Git tells of files alone, so folders come and go with them.

Renames are moves, so that a file's history goes on. A commit may move the file `a` to `a/b`, or the other way round;
then it goes by way of a passing name, for each event must be possible after the ones before it. What stands in the way
and is not of git gives way: it is deleted, and can be undeleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from evstore.core import rules
from evstore.core.entry import Entry
from evstore.core.events import EntryId, Event, Kind, new_id
from evstore.core.paths import ContentPath
from evstore.core.rules import Decision
from evstore.log.bodies import Body
from evstore.log.engine.base import Tx
from evstore.projections import executables, tree

PASSING = ".evstore-passing-"


@dataclass(frozen=True, slots=True)
class Put:
    """A file as it is after a commit; `source` is where it was before, if it was renamed."""

    path: ContentPath
    body: Body
    executable: bool
    source: ContentPath | None = None


class _Move(NamedTuple):
    source: ContentPath
    target: ContentPath
    stepped_aside: bool = False


@dataclass(slots=True)
class Replay:
    """One commit's events, decided in memory so that they are appended at once."""

    tx: Tx
    into: Entry  # the directory that the repository is in
    date: int  # µs since 1970, of what is new
    decision: Decision = field(default_factory=list[tuple[EntryId, Event]])
    # what has become of places in this commit: folder -> name -> what stands there now
    changed: dict[ContentPath, dict[str, Entry | None]] = field(
        default_factory=dict[ContentPath, dict[str, Entry | None]]
    )

    def run(self, gone: Iterable[ContentPath], puts: list[Put]) -> Decision:
        """Delete the files at `gone`, move what was renamed, save what is new."""
        moves = [_Move(put.source, put.path) for put in puts if put.source and self._file(put.source)]
        moving = {move.source for move in moves}
        for path in gone:
            if path not in moving and (entry := self._file(path)):
                self._delete(entry)
        self._move_all(moves)
        for put in puts:
            self._put(put)
        for folder in sorted(self.changed, key=lambda path: len(path.names), reverse=True):
            self._prune(folder)
        return self.decision

    # -- looking -----------------------------------------------------------------------

    def _at(self, path: ContentPath) -> Entry | None:
        if path == self.into.path:
            return self.into
        changed = self.changed.get(path.parent, {})
        return changed[path.name] if path.name in changed else tree.entry_at(self.tx, path)

    def _file(self, path: ContentPath) -> Entry | None:
        entry = self._at(path)
        return None if entry is None or entry.is_directory else entry

    def _is_empty(self, folder: Entry) -> bool:
        changed = self.changed.get(folder.path, {})
        if any(entry is not None for entry in changed.values()):
            return False
        return all(name in changed for name in tree.names(self.tx, folder.id, len(changed) + 1))

    # -- doing -------------------------------------------------------------------------

    def _set(self, path: ContentPath, entry: Entry | None) -> None:
        self.changed.setdefault(path.parent, {})[path.name] = entry

    def _delete(self, entry: Entry) -> None:
        self.decision += rules.delete(entry)
        self._set(entry.path, None)

    def _prune(self, folder: ContentPath) -> bool:
        """Delete the folder, and those above it, if nothing is left in it; tell whether it is gone."""
        entry = self._at(folder)
        if folder == self.into.path or entry is None or not entry.is_directory or not self._is_empty(entry):
            return False
        self._delete(entry)
        self._prune(folder.parent)
        return True

    def _create(self, path: ContentPath, kind: Kind) -> Entry:
        parent = self._folder(path.parent)
        entry, events = rules.make(path, parent, EntryId(new_id()), kind, at=self.date)
        self.decision += events
        self._set(path, entry)
        return entry

    def _folder(self, path: ContentPath) -> Entry:
        """The folder at `path`, where no file is; made if need be, with those above it."""
        return self._at(path) or self._create(path, Kind.DIRECTORY)

    def _clear(self, path: ContentPath, *, force: bool) -> bool:
        """Whether a file can go to `path`. With `force`, what is in its way is deleted."""
        for place in path.lineage[len(self.into.path.names) :]:
            entry = self._at(place)
            if entry is None:
                break  # and nothing below it
            if entry.is_directory and place != path:
                continue
            if not force and not (entry.is_directory and self._is_empty(entry)):
                return False
            self._delete(entry)  # not the folders above it, where the file will go
            break
        return True

    def _move_all(self, moves: list[_Move]) -> None:
        """Each move as soon as its way is free."""
        while moves:
            stuck = [move for move in moves if not self._go(move, force=False)]
            if len(stuck) == len(moves):
                stuck = self._loosen(stuck)
            moves = stuck

    def _go(self, move: _Move, *, force: bool) -> bool:
        if not self._clear(move.target, force=force):
            return False
        entry = self._at(move.source)
        assert entry is not None
        parent = self._folder(move.target.parent)
        self.decision += rules.move(entry, move.target, parent, None)
        self._set(move.source, None)
        self._set(move.target, replace(entry, parent=parent.id, name=move.target.name, path=move.target))
        return True

    def _loosen(self, moves: list[_Move]) -> list[_Move]:
        """They are in each other's way: one takes a passing name. If all have, something else is."""
        for place, move in enumerate(moves):
            if not move.stepped_aside:
                passing = self.into.path.child(f"{PASSING}{new_id().hex()}")
                self._go(_Move(move.source, passing), force=False)
                return [*moves[:place], _Move(passing, move.target, stepped_aside=True), *moves[place + 1 :]]
        self._go(moves[0], force=True)
        return moves[1:]

    def _put(self, put: Put) -> None:
        entry = self._file(put.path)
        known = entry is not None and executables.is_executable(self.tx, entry.id)
        if entry is None:
            self._clear(put.path, force=True)
            entry = self._create(put.path, Kind.FILE)
        self.decision += rules.save(entry, put.body.digest, put.body.size, modified=self.date)
        self.decision += rules.set_executable(entry, put.executable, known=known)
