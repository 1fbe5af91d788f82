"""Each rule as a table: what is there, what is wished, what happens then."""

from __future__ import annotations

from typing import Any

import pytest

from evstore.core import rules
from evstore.core.entry import Entry
from evstore.core.errors import Conflict, Exists, Invalid, NotFound
from evstore.core.events import (
    ROOT,
    CheckpointCreated,
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
    NotebookTrusted,
    Offset,
    TagImported,
)
from evstore.core.paths import ContentPath

A, B = Digest(b"a" * 32), Digest(b"b" * 32)
NEW = EntryId(b"n" * 16)
TAG = TagImported(name="v1", source=Offset(7))


def entry(path: str, kind: Kind = Kind.FILE, digest: Digest | None = A) -> Entry:
    where = ContentPath(path)
    return Entry(
        id=EntryId(path.encode().ljust(16, b"_")) if path else ROOT,
        parent=ROOT,
        name=where.name,
        path=where,
        kind=kind,
        created=1,
        modified=1,
        digest=digest if kind is Kind.FILE else None,
        size=1 if kind is Kind.FILE else None,
    )


TOP, FOLDER = entry("", Kind.DIRECTORY), entry("d", Kind.DIRECTORY)
FILE = entry("f")


@pytest.mark.parametrize(
    ("path", "parent", "occupant", "outcome"),
    [
        ("x", TOP, None, [(NEW, EntryCreated(parent=ROOT, name="x", kind=Kind.FILE))]),
        ("d/x", FOLDER, None, [(NEW, EntryCreated(parent=FOLDER.id, name="x", kind=Kind.FILE))]),
        ("x", TOP, FILE, Exists),
        ("no/x", None, None, NotFound),
        ("f/x", FILE, None, Invalid),
        ("x" * 256, TOP, None, Invalid),
        ("a\\b", TOP, None, Invalid),
        ("\ud800", TOP, None, Invalid),
    ],
)
def test_create(path: str, parent: Entry | None, occupant: Entry | None, outcome: Any) -> None:
    def decide() -> rules.Decision:
        return rules.create(ContentPath(path), parent, occupant, NEW, Kind.FILE)

    _check(decide, outcome)


@pytest.mark.parametrize("kind", Kind)
def test_make_is_create_with_what_it_makes(kind: Kind) -> None:
    path = ContentPath("d/x")
    made, decision = rules.make(path, FOLDER, NEW, kind, at=5)
    assert decision == rules.create(path, FOLDER, None, NEW, kind, created=5)
    assert made == Entry(
        id=NEW,
        parent=FOLDER.id,
        name="x",
        path=path,
        kind=kind,
        created=5,
        modified=5,
        digest=None,
        size=None,
    )
    for parent in (None, FILE):
        with pytest.raises(rules.REFUSALS):
            rules.make(path, parent, NEW, kind, at=5)


@pytest.mark.parametrize(
    ("given", "digest", "trusted", "known", "outcome"),
    [
        (FILE, A, False, False, []),
        (FILE, B, False, False, [(FILE.id, FileSaved(digest=B, size=3))]),
        (FILE, B, True, False, [(FILE.id, FileSaved(digest=B, size=3, trusted=True))]),
        (FILE, A, True, False, [(FILE.id, NotebookTrusted(digest=A))]),
        (FILE, A, True, True, []),
        (FOLDER, B, False, False, Invalid),
    ],
)
def test_save(given: Entry, digest: Digest, trusted: bool, known: bool, outcome: Any) -> None:
    _check(lambda: rules.save(given, digest, 3, trusted=trusted, known_trusted=known), outcome)


@pytest.mark.parametrize(
    ("given", "expected", "present", "absent", "conflict"),
    [
        (FILE, None, False, False, False),
        (FILE, frozenset([A]), False, False, False),
        (FILE, frozenset([B, A]), False, False, False),
        (FILE, frozenset([B]), False, False, True),
        (FILE, None, False, True, True),
        (None, None, False, True, False),
        (None, None, True, False, True),
        (None, frozenset([A]), False, False, True),
    ],
)
def test_expect(given: Entry | None, expected: Any, present: bool, absent: bool, conflict: bool) -> None:
    def decide() -> rules.Decision:
        rules.expect(given, ContentPath("f"), expected, present=present, absent=absent)
        return []

    _check(decide, Conflict if conflict else [])


@pytest.mark.parametrize(
    ("given", "to", "parent", "occupant", "outcome"),
    [
        (FILE, "g", TOP, None, [(FILE.id, EntryMoved(parent=ROOT, name="g"))]),
        (FILE, "d/f", FOLDER, None, [(FILE.id, EntryMoved(parent=FOLDER.id, name="f"))]),
        (FILE, "f", TOP, FILE, []),
        (FILE, "g", TOP, entry("g"), Exists),
        (FILE, "no/f", None, None, NotFound),
        (FILE, "", TOP, TOP, Invalid),
        (FOLDER, "d/d", FOLDER, None, Invalid),
        (FOLDER, "d/f", FOLDER, entry("d/f"), Exists),
        (TOP, "x", TOP, None, Invalid),
        (FILE, "x" * 300, TOP, None, Invalid),
    ],
)
def test_move(given: Entry, to: str, parent: Entry | None, occupant: Entry | None, outcome: Any) -> None:
    _check(lambda: rules.move(given, ContentPath(to), parent, occupant), outcome)


@pytest.mark.parametrize(("given", "outcome"), [(FILE, [(FILE.id, EntryDeleted())]), (TOP, Invalid)])
def test_delete(given: Entry, outcome: Any) -> None:
    _check(lambda: rules.delete(given), outcome)


@pytest.mark.parametrize(
    ("in_tree", "parent", "occupant", "outcome"),
    [
        (None, TOP, None, [(NEW, EntryUndeleted(parent=ROOT, name="f"))]),
        (ContentPath("f"), TOP, None, Exists),
        (None, TOP, FILE, Exists),
        (None, None, None, NotFound),
    ],
)
def test_undelete(
    in_tree: ContentPath | None, parent: Entry | None, occupant: Entry | None, outcome: Any
) -> None:
    _check(lambda: rules.undelete(NEW, in_tree, ContentPath("f"), parent, occupant), outcome)


@pytest.mark.parametrize(
    ("given", "then", "outcome"),
    [
        (FILE, (B, 2), [(FILE.id, FileRestored(digest=B, size=2, source=Offset(7)))]),
        (FILE, (A, 1), []),
        (FILE, None, NotFound),
        (FOLDER, (A, 1), Invalid),
    ],
)
def test_restore(given: Entry, then: Any, outcome: Any) -> None:
    _check(lambda: rules.restore(given, then, Offset(7)), outcome)


@pytest.mark.parametrize(
    ("given", "outcome"), [(FILE, [(FILE.id, CheckpointCreated(label="l"))]), (FOLDER, Invalid)]
)
def test_checkpoint(given: Entry, outcome: Any) -> None:
    _check(lambda: rules.checkpoint(given, "l"), outcome)


@pytest.mark.parametrize(
    ("given", "known", "outcome"),
    [
        (FILE, False, [(FILE.id, ExecutableChanged(executable=True))]),
        (FILE, True, []),
        (FOLDER, False, Invalid),
    ],
)
def test_set_executable(given: Entry, known: bool, outcome: Any) -> None:
    _check(lambda: rules.set_executable(given, True, known=known), outcome)


@pytest.mark.parametrize(
    ("given", "outcome"), [(TOP, [(ROOT, TAG)]), (FOLDER, [(FOLDER.id, TAG)]), (FILE, Invalid)]
)
def test_note_git(given: Entry, outcome: Any) -> None:
    _check(lambda: rules.note_git(given, TAG), outcome)


def _check(decide: Any, outcome: Any) -> None:
    if isinstance(outcome, list):
        assert decide() == outcome
        return
    with pytest.raises(outcome) as error:
        decide()
    assert len(error.value.message) > 10
