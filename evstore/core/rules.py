"""One entry's life, and every rule of what may happen next.

Rule 1: what may happen to an entry is decided here and nowhere else.
Rule 2: a rule is a plain function from state and wish to events. No clock, no database, no
await: it gets what it must know, and an empty list means that there is nothing to do.

    (nothing) --EntryCreated--> in the tree --EntryDeleted--> deleted
                                 |      ^                       |
                  FileSaved, EntryMoved, |                      |
                  FileRestored, ...------+ <--EntryUndeleted----+

Whole trees are restored by `restoring.py`, which builds on these rules.
"""

from __future__ import annotations

from evstore.core.entry import Entry
from evstore.core.errors import Conflict, Exists, Invalid, NotFound
from evstore.core.events import (
    ROOT,
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
    NotebookTrusted,
    Offset,
    TagImported,
)
from evstore.core.paths import ContentPath, check_path

Decision = list[tuple[EntryId, Event]]
REFUSALS = (Conflict, Exists, Invalid, NotFound)  # what a rule says against a wish


def create(
    path: ContentPath,
    parent: Entry | None,
    occupant: Entry | None,
    new: EntryId,
    kind: Kind,
    *,
    copied_from: EntryId | None = None,
    created: int | None = None,
) -> Decision:
    """A new entry at `path`, where nothing is yet."""
    check_path(path)
    directory = _directory(parent, path)
    if occupant is not None:
        raise Exists(f"{path} exists already.")
    event = EntryCreated(
        parent=directory.id, name=path.name, kind=kind, copied_from=copied_from, created=created
    )
    return [(new, event)]


def make(
    path: ContentPath, parent: Entry | None, new: EntryId, kind: Kind, *, at: int
) -> tuple[Entry, Decision]:
    """`create` at that time, and the entry as it will be, for commands that go on with it before it is in the tree."""
    directory = _directory(parent, path)
    decision = create(path, directory, None, new, kind, created=at)
    return Entry.new(new, directory.id, path, kind, at), decision


def save(
    entry: Entry,
    digest: Digest,
    size: int,
    *,
    trusted: bool = False,
    known_trusted: bool = False,
    modified: int | None = None,
) -> Decision:
    """New bytes for a file; nothing when it has them already."""
    _file(entry)
    if entry.digest == digest:
        return trust(entry, known_trusted=known_trusted) if trusted else []
    return [(entry.id, FileSaved(digest=digest, size=size, trusted=trusted, modified=modified))]


def expect(
    entry: Entry | None,
    path: ContentPath,
    expected: frozenset[Digest] | None,
    *,
    present: bool = False,
    absent: bool = False,
) -> None:
    """Raise Conflict unless the file is as the caller last saw it: one of `expected`, `present` or `absent`."""
    if absent and entry is not None:
        raise Conflict(f"{path} exists already, and the request was for a new file.")
    if entry is None and (present or expected is not None):
        raise Conflict(f"{path} is not there any more.")
    if entry is not None and expected is not None and entry.digest not in expected:
        raise Conflict(
            f"{path} was changed by someone else meanwhile. Both versions are kept; load it again."
        )


def trust(entry: Entry, *, known_trusted: bool) -> Decision:
    """The user vouches for the notebook as it is."""
    _file(entry)
    if known_trusted or entry.digest is None:
        return []
    return [(entry.id, NotebookTrusted(digest=entry.digest))]


def move(entry: Entry, path: ContentPath, parent: Entry | None, occupant: Entry | None) -> Decision:
    """Another name or another folder for an entry, never over something that exists."""
    if entry.path == path:
        return []
    if entry.id == ROOT:
        raise Invalid("The served folder itself can't be renamed.")
    check_path(path)
    if not path:
        raise Invalid(f"{entry.path} can't take the place of the served folder.")
    if occupant is not None:
        raise Exists(f"File already exists: {path}")
    if path.is_below(entry.path):
        raise Invalid(f"{entry.path} can't be moved into itself.")
    directory = _directory(parent, path)
    return [(entry.id, EntryMoved(parent=directory.id, name=path.name))]


def delete(entry: Entry) -> Decision:
    """Take an entry, with all below it, out of the tree. It can be undeleted."""
    if entry.id == ROOT:
        raise Invalid("Can't delete root: the served folder itself stays.")
    return [(entry.id, EntryDeleted())]


def undelete(
    entry: EntryId,
    in_tree: ContentPath | None,
    path: ContentPath,
    parent: Entry | None,
    occupant: Entry | None,
) -> Decision:
    """Bring a deleted entry, or one inside a deleted folder, back to `path`."""
    if in_tree is not None:
        raise Exists(f"It is not deleted: it is at {in_tree}.")
    check_path(path)
    directory = _directory(parent, path)
    if occupant is not None:
        raise Exists(f"{path} is taken by another file; give a path for the one that is to come back.")
    return [(entry, EntryUndeleted(parent=directory.id, name=path.name))]


def restore(entry: Entry, then: tuple[Digest, int] | None, source: Offset) -> Decision:
    """The bytes that the file had at the offset `source`; nothing when it has them."""
    _file(entry)
    if then is None:
        raise NotFound(f"{entry.path} had no contents yet at offset {source}.")
    digest, size = then
    if digest == entry.digest:
        return []
    return [(entry.id, FileRestored(digest=digest, size=size, source=source))]


def checkpoint(entry: Entry, label: str | None) -> Decision:
    """Mark what the file holds now."""
    _file(entry)
    return [(entry.id, CheckpointCreated(label=label))]


def delete_checkpoint(entry: Entry, offset: Offset) -> Decision:
    """Unmark; the contents stay in the history."""
    return [(entry.id, CheckpointDeleted(checkpoint=offset))]


def set_executable(entry: Entry, executable: bool, *, known: bool) -> Decision:
    """Make the file a program, or one no more; `known` is what it is now."""
    _file(entry)
    return [] if executable == known else [(entry.id, ExecutableChanged(executable=executable))]


def note_git(directory: Entry, event: CommitImported | TagImported) -> Decision:
    """What was done to the directory came from a git commit, or has a name in git."""
    if not directory.is_directory:
        raise Invalid(f"{directory.path} is a file; a repository goes into a directory.")
    return [(directory.id, event)]


def _file(entry: Entry) -> None:
    if entry.is_directory:
        raise Invalid(f"{entry.path or '/'} is a directory, not a file.")


def _directory(parent: Entry | None, path: ContentPath) -> Entry:
    if parent is None:
        raise NotFound(f"No such directory: {path.parent}")
    if not parent.is_directory:
        raise Invalid(f"{parent.path} is a file, not a directory.")
    return parent
