"""A large change on the disk is taken in by several commands: nothing is left out, and what belongs together stays so."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evstore.core.events import Digest, EntryId, Kind
from evstore.core.paths import ContentPath
from evstore.log.bodies import Body
from evstore.worktree.body_reader import FileRead
from evstore.worktree.disk.disk import FileStat, FileType, StatStamp
from evstore.worktree.import_batches import LOT, import_batches
from evstore.worktree.scanner import ChangedFile, Differences, GoneEntry, NewPath

ENTRIES = [EntryId(bytes([number]) * 16) for number in range(8)]
DIGESTS = [Digest(bytes([number]) * 32) for number in range(8)]
PATHS = [ContentPath(f"d{number % 3}/f{number}") for number in range(30)]


def found(path: ContentPath, what: FileType = FileType.FILE) -> FileStat:
    return FileStat(path, what, StatStamp(1, 1, 1, 1), 0o644, None, 0)


def read_as(path: ContentPath, digest: Digest) -> FileRead:
    return FileRead(Body(digest, 1), one := found(path), one.stamp)


@st.composite
def differences(draw: st.DrawFn) -> tuple[Differences, dict[ContentPath, FileRead]]:
    told, read = Differences(), dict[ContentPath, FileRead]()
    paths = iter(draw(st.permutations(PATHS)))
    for entry in draw(st.lists(st.sampled_from(ENTRIES), unique=True)):
        kind = draw(st.sampled_from(Kind))
        digest = draw(st.sampled_from(DIGESTS)) if kind is Kind.FILE else None
        told.gone.append(GoneEntry(entry, next(paths), kind, digest))
    for was in draw(st.lists(st.one_of(st.none(), st.sampled_from(ENTRIES)), max_size=8)):
        path, what = next(paths), draw(st.sampled_from([FileType.FILE, FileType.FILE, FileType.DIRECTORY]))
        told.appeared.append(NewPath(found(path, what), was))
        if what is FileType.FILE and draw(st.booleans()):
            read[path] = read_as(path, draw(st.sampled_from(DIGESTS)))
    for number in range(draw(st.integers(0, 4))):
        path = next(paths)
        told.changed.append(ChangedFile(EntryId(bytes([100 + number]) * 16), None, found(path)))
        read[path] = read_as(path, draw(st.sampled_from(DIGESTS)))
    return told, read


def many(count: int) -> tuple[Differences, dict[ContentPath, FileRead]]:
    told, read = Differences(), dict[ContentPath, FileRead]()
    for number in range(count):
        path, digest = ContentPath(f"f{number}"), Digest(number.to_bytes(32))
        told.changed.append(ChangedFile(EntryId(number.to_bytes(16)), None, found(path)))
        read[path] = read_as(path, digest)
    return told, read


@given(differences())
def test_few_are_taken_in_at_once(given: tuple[Differences, dict[ContentPath, FileRead]]) -> None:
    told, read = given
    parts = list(import_batches(told, read))
    assert len(parts) == bool(told.any)
    for part in parts:
        assert sorted(part.differences.gone, key=repr) == sorted(told.gone, key=repr)
        assert sorted(part.differences.appeared, key=repr) == sorted(told.appeared, key=repr)
        assert part.differences.changed == told.changed
        assert part.read == read


@given(differences(), st.integers(LOT - 3, 2 * LOT))
def test_what_belongs_together_stays_so(
    given: tuple[Differences, dict[ContentPath, FileRead]], count: int
) -> None:
    told, read = given
    more, more_read = many(count)
    told.changed += more.changed
    read |= more_read
    parts = list(import_batches(told, read))
    assert sum(len(part.differences.changed) for part in parts) == len(told.changed)
    assert {path: one for part in parts for path, one in part.read.items()} == read
    directories = {one.found.path for one in told.appeared if one.found.what is FileType.DIRECTORY}
    where = {one.entry: at for at, part in enumerate(parts) for one in part.differences.gone}
    for at, part in enumerate(parts):
        size = sum(map(len, (part.differences.gone, part.differences.appeared, part.differences.changed)))
        assert size <= LOT
        for gone in part.differences.gone:
            if gone.kind is Kind.DIRECTORY or gone.path in directories:
                assert at == 0
        for one in part.differences.appeared:
            if one.found.path in directories:
                assert at == 0
            elif one.was is not None and one.was in where and one.was not in directories_of(told):
                assert where[one.was] == at
    assert len(where) == len(told.gone)


def directories_of(told: Differences) -> set[EntryId]:
    return {one.entry for one in told.gone if one.kind is Kind.DIRECTORY}


def test_bytes_that_went_and_came_are_one_rename() -> None:
    told, read = many(3 * LOT)
    for number in range(2 * LOT):
        old, new = ContentPath(f"old{number}"), ContentPath(f"new{number}")
        digest = Digest((10_000 + number).to_bytes(32))
        told.gone.append(GoneEntry(EntryId((20_000 + number).to_bytes(16)), old, Kind.FILE, digest))
        told.appeared.append(NewPath(found(new)))
        read[new] = read_as(new, digest)
    for part in import_batches(told, read):
        gone = {one.digest for one in part.differences.gone}
        assert {part.read[one.found.path].body.digest for one in part.differences.appeared} == gone
