"""Making a tree equal to what it was: which events lead from now back to then. Pure.

Entries are told apart by their ids, not their paths, so what was renamed since goes back to its
name and keeps its history. Nothing outside the restored directory changes: what has left it since
comes back as a copy, and what has come into it since is deleted (and can be undeleted).

Each event must be possible after the ones before it, for a log may be replayed up to any
place. So two files that swapped names, or a folder that was moved into what was its own
subfolder, go by way of a passing name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from evstore.core.entry import Entry
from evstore.core.events import (
    EntryCreated,
    EntryDeleted,
    EntryId,
    EntryMoved,
    EntryUndeleted,
    Event,
    ExecutableChanged,
    FileRestored,
    FileSaved,
    Offset,
)
from evstore.core.paths import ContentPath
from evstore.core.rules import Decision

Slot = tuple[EntryId, str]  # a parent and a name


class Change(NamedTuple):
    """One thing that a restore does, as people are told."""

    action: str  # create, delete, move, restore or undelete
    path: ContentPath
    from_path: ContentPath | None = None


class Outside(NamedTuple):
    """What the planner may ask about entries that are not below the directory now."""

    in_tree: Callable[[EntryId], bool]  # whether it stands somewhere else in the tree
    below: Callable[[EntryId], Iterable[Entry]]  # what a deleted directory would bring back with it
    digest: Callable[[EntryId], bytes | None]  # the bytes it had last
    programs: Set[EntryId]  # all files that are executable now, also deleted ones
    were_programs: Set[EntryId]  # and then
    new_id: Callable[[], EntryId]


@dataclass(slots=True)
class _Step:
    """An entry on its way to its place; `event` makes the event once the way is free."""

    entry: EntryId
    slot: Slot
    action: str
    path: ContentPath
    make: Callable[[Slot], Event]
    from_path: ContentPath | None = None


@dataclass(slots=True)
class Plan:
    """The events of a restore, in order, and what they do in words."""

    events: Decision = field(default_factory=list[tuple[EntryId, Event]])
    changes: list[Change] = field(default_factory=list[Change])


def plan(top: Entry, then: list[Entry], now: list[Entry], outside: Outside, source: Offset) -> Plan:
    """How to make what is below the directory `top` equal to `then`.

    `then` and `now` begin with the directory itself and name each directory before what it
    holds. `source` is the offset of `then`.
    """
    return _Planner(top, then, now, outside, source).run()


class _Planner:
    def __init__(
        self, top: Entry, then: list[Entry], now: list[Entry], outside: Outside, source: Offset
    ) -> None:
        self.top = top
        self.source = source
        self.outside = outside
        self.then = then[1:]
        self.then_top = then[0]
        self.present = {entry.id: entry for entry in now[1:]}
        self.place: dict[EntryId, Slot] = {e.id: (e.parent, e.name) for e in self.present.values()}
        self.taken: dict[Slot, EntryId] = {slot: entry for entry, slot in self.place.items()}
        self.becomes: dict[EntryId, EntryId] = {self.then_top.id: top.id}  # ids then -> ids now
        self.result = Plan()
        self.steps: list[_Step] = []
        self.contents: list[tuple[EntryId, Event, Change | None]] = []

    def run(self) -> Plan:
        for entry in self.then:
            self._wish(entry)
        kept = set(self.becomes.values())
        doomed = [entry for entry in self.present.values() if entry.id not in kept]
        self._carry_out(doomed)
        for entry, event, change in self.contents:
            self.result.events.append((entry, event))
            if change is not None:
                self.result.changes.append(change)
        return self.result

    # -- what must happen ------------------------------------------------------------

    def _wish(self, entry: Entry) -> None:
        """Note what `entry`, as it was then, needs: a place, its bytes, both or neither."""
        path = self._path(entry)
        slot = (self.becomes[entry.parent], entry.name)
        before = self.present.get(entry.id)
        if before is None and self.outside.in_tree(entry.id):
            self._wish_copy(entry, slot, path)
            return
        self.becomes[entry.id] = entry.id
        if before is None:
            self.steps.append(_Step(entry.id, slot, "undelete", path, _undeleted))
            self._bring_back(entry)
            last = self.outside.digest(entry.id)
        else:
            last = before.digest
            if (before.parent, before.name) != slot:
                self.steps.append(_Step(entry.id, slot, "move", path, _moved, before.path))
        change = Change("restore", path)
        if entry.digest is not None and entry.digest != last:
            event = FileRestored(digest=entry.digest, size=entry.size or 0, source=self.source)
            self.contents.append((entry.id, event, change))
            change = None  # it is told once, whatever there is of it
        was_program = entry.id in self.outside.were_programs
        if was_program != (entry.id in self.outside.programs):
            self.contents.append((entry.id, ExecutableChanged(executable=was_program), change))

    def _wish_copy(self, entry: Entry, slot: Slot, path: ContentPath) -> None:
        """What has left the directory stays where it is now; here it gets a copy."""
        new = self.outside.new_id()
        self.becomes[entry.id] = new

        def make(where: Slot) -> Event:
            return EntryCreated(parent=where[0], name=where[1], kind=entry.kind, copied_from=entry.id)

        self.steps.append(_Step(new, slot, "create", path, make))
        if entry.digest is not None:
            saved = FileSaved(digest=entry.digest, size=entry.size or 0)
            self.contents.append((new, saved, Change("restore", path)))
        if entry.id in self.outside.were_programs:
            self.contents.append((new, ExecutableChanged(executable=True), None))

    def _bring_back(self, entry: Entry) -> None:
        """A directory that is undeleted brings along what it held when it went."""
        if not entry.is_directory:
            return
        for member in self.outside.below(entry.id):
            self.present[member.id] = member
            self.place[member.id] = (member.parent, member.name)
            self.taken[(member.parent, member.name)] = member.id

    def _path(self, entry: Entry) -> ContentPath:
        """Where the entry will be."""
        inner = entry.path[len(self.then_top.path) :].strip("/")
        return ContentPath(f"{self.top.path}/{inner}".strip("/"))

    # -- in which order --------------------------------------------------------------

    def _carry_out(self, doomed: list[Entry]) -> None:
        """Deletions, moves and arrivals, each as soon as its way is free."""
        ids = {entry.id for entry in doomed}
        deletions = [entry for entry in doomed if entry.parent not in ids]  # the others go with them
        leaving = {step.entry for step in self.steps if step.action == "move"}
        while self.steps or deletions:
            deletions, stuck = self._delete_ready(deletions, leaving), self.steps
            self.steps = [step for step in stuck if not self._go(step, leaving)]
            if len(self.steps) == len(stuck) and stuck:
                self._step_aside(leaving)

    def _delete_ready(self, deletions: list[Entry], leaving: set[EntryId]) -> list[Entry]:
        """Delete what no longer holds anything that must stay; return the rest."""
        blocked: set[EntryId] = set()
        for entry in leaving:
            parent = self.place[entry][0] if entry in self.place else self.top.id
            while parent != self.top.id and parent in self.place and parent not in blocked:
                blocked.add(parent)
                parent = self.place[parent][0]
        rest: list[Entry] = []
        for entry in deletions:
            if entry.id in blocked or not self._standing(entry.id):
                rest.append(entry)
                continue
            del self.taken[self.place.pop(entry.id)]
            self.result.events.append((entry.id, EntryDeleted()))
            self.result.changes.append(Change("delete", entry.path))
        return rest

    def _go(self, step: _Step, leaving: set[EntryId]) -> bool:
        """Take the step if its place is free, stands in the tree, and is not inside the entry itself."""
        if step.slot in self.taken or not self._standing(step.slot[0], without=step.entry):
            return False
        if step.action == "move" and not self._standing(step.entry):
            return False
        self._put(step.entry, step.slot, step.make)
        self.result.changes.append(Change(step.action, step.path, step.from_path))
        leaving.discard(step.entry)
        return True

    def _step_aside(self, leaving: set[EntryId]) -> None:
        """Nothing can go: they are in each other's way. One of them takes a passing name."""
        step = next(step for step in self.steps if step.entry in leaving and self._standing(step.entry))
        name = f".restoring-{step.entry.hex()}"
        self._put(step.entry, (self.top.id, name), _moved)
        leaving.discard(step.entry)

    def _put(self, entry: EntryId, slot: Slot, make: Callable[[Slot], Event]) -> None:
        if entry in self.place:
            del self.taken[self.place[entry]]
        self.place[entry] = slot
        self.taken[slot] = entry
        self.result.events.append((entry, make(slot)))

    def _standing(self, entry: EntryId, *, without: EntryId | None = None) -> bool:
        """Whether the entry is below the directory just now (and not below `without`)."""
        while entry != self.top.id:
            if entry == without or entry not in self.place:
                return False
            entry = self.place[entry][0]
        return True


def _moved(slot: Slot) -> Event:
    return EntryMoved(parent=slot[0], name=slot[1])


def _undeleted(slot: Slot) -> Event:
    return EntryUndeleted(parent=slot[0], name=slot[1])
