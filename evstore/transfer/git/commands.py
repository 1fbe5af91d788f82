"""What a command of the log did to the files, as a commit tells it: the tree before and after, compared.

Only what the command touched is looked at; but what is below a folder that was moved, deleted or brought
back has been touched, too. Passing names inside a command don't show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from evstore.core.events import (
    CheckpointCreated,
    CheckpointDeleted,
    CommitImported,
    Digest,
    EntryCreated,
    EntryDeleted,
    EntryId,
    EntryMoved,
    EntryUndeleted,
    Event,
    ExecutableChanged,
    FileRestored,
    FileSaved,
    Kind,
    Offset,
    Recorded,
    TagImported,
)
from evstore.core.paths import ContentPath
from evstore.log.engine.base import Tx
from evstore.projections import executables, tree


class File(NamedTuple):
    """A file in the tree at some moment; one that never got contents has no digest, and is empty."""

    path: ContentPath
    digest: Digest | None
    size: int
    executable: bool


class Label(NamedTuple):
    """A checkpoint with a label: its own event, and the file that it is of."""

    recorded: Recorded
    text: str
    path: ContentPath | None


@dataclass(frozen=True, slots=True)
class CommandDiff:
    """One command: its last event, what it did to files, and what it says for git."""

    last: Recorded
    removed: list[ContentPath]
    files: list[File]
    changes: list[tuple[str, str]]  # what happened, as verb and object
    commit: CommitImported | None
    tags: list[tuple[Offset, TagImported]]  # with the offsets of their events
    labels: list[Label]
    unlabelled: list[Offset]  # of checkpoints that are deleted


def tell(tx: Tx, events: Sequence[Recorded]) -> CommandDiff:
    """What the events of one command, all of them, have done."""
    removed, files = _compare(tx, events)
    commits = [one.event for one in events if isinstance(one.event, CommitImported)]
    return CommandDiff(
        last=events[-1],
        removed=removed,
        files=files,
        changes=list(_changes(tx, events)),
        commit=commits[-1] if commits else None,
        tags=[(one.offset, one.event) for one in events if isinstance(one.event, TagImported)],
        labels=[
            Label(one, one.event.label, tree.path_of(tx, one.entry, one.offset))
            for one in events
            if isinstance(one.event, CheckpointCreated) and one.event.label
        ],
        unlabelled=[one.event.checkpoint for one in events if isinstance(one.event, CheckpointDeleted)],
    )


def _compare(tx: Tx, events: Sequence[Recorded]) -> tuple[list[ContentPath], list[File]]:
    """The paths at which there is no longer the same file, and the files that are new or different."""
    before, after = events[0].offset - 1, events[-1].offset
    removed: list[ContentPath] = []
    files: list[File] = []
    for entry in _files(tx, events):
        old, new = _file(tx, entry, before), _file(tx, entry, after)
        if old is not None and (new is None or new.path != old.path):
            removed.append(old.path)
        if new is not None and new != old:
            files.append(new)
    return sorted(removed), sorted(files, key=lambda file: file.path)


def _files(tx: Tx, events: Sequence[Recorded]) -> dict[EntryId, None]:
    """The files that the events have touched, themselves or by a folder above them."""
    found: dict[EntryId, None] = {}
    moments = (events[0].offset - 1, events[-1].offset)
    for recorded in events:
        match recorded.event:
            case EntryCreated(kind=Kind.FILE) | FileSaved() | FileRestored() | ExecutableChanged():
                found[recorded.entry] = None
            case EntryMoved() | EntryDeleted() | EntryUndeleted():
                if tree.kind_of(tx, recorded.entry) is Kind.FILE:
                    found[recorded.entry] = None
                    continue
                for moment in moments:
                    below = tree.below(tx, recorded.entry, moment)
                    found |= {entry.id: None for entry in below if not entry.is_directory}
            case _:  # a folder that is made is empty; the rest is about no file's bytes or place
                pass
    return found


def _file(tx: Tx, entry: EntryId, at: int) -> File | None:
    path = tree.path_of(tx, entry, at)
    if path is None:
        return None
    digest, size = tree.contents_at(tx, entry, at) or (None, 0)
    return File(path, digest, size, executables.is_executable(tx, entry, at))


# -- in words ------------------------------------------------------------------------------


def _changes(tx: Tx, events: Sequence[Recorded]) -> Iterator[tuple[str, str]]:
    """What happened to each entry that an event names, in the order of the events."""
    before, after = events[0].offset - 1, events[-1].offset
    named: dict[EntryId, list[Event]] = {}
    for recorded in events:
        named.setdefault(recorded.entry, []).append(recorded.event)
    for entry, told in named.items():
        kind = tree.kind_of(tx, entry)
        if kind is None or (kind is Kind.DIRECTORY and isinstance(told[0], EntryCreated)):
            continue
        slash = "/" if kind is Kind.DIRECTORY else ""
        old, new = tree.path_of(tx, entry, before), tree.path_of(tx, entry, after)
        if (change := _change(told, old and f"{old}{slash}", new and f"{new}{slash}")) is not None:
            yield change


def _change(told: list[Event], old: str | None, new: str | None) -> tuple[str, str] | None:
    if new is None:
        return None if old is None else ("Delete", old)
    if old is None:
        is_back = any(isinstance(event, EntryUndeleted) for event in told)
        return ("Bring back" if is_back else "Create", new)
    if old != new:
        return ("Move", f"{old} to {new}")
    for event in reversed(told):
        match event:
            case FileSaved():
                return ("Save", new)
            case FileRestored(source=source):
                return ("Restore", f"{new} as of offset {source}")
            case ExecutableChanged(executable=executable):
                return ("Make executable" if executable else "Make not executable", new)
            case _:  # it shows in no tree
                pass
    return None
