"""Large changes on the disk in parts, so that nobody who saves has to wait long for the command that takes one in."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import NamedTuple

from evstore.core.batching import in_batches
from evstore.core.events import Kind
from evstore.core.paths import ContentPath
from evstore.worktree.body_reader import FileRead
from evstore.worktree.disk.disk import FileType
from evstore.worktree.scanner import ChangedFile, Differences, GoneEntry, NewPath

LOT = 250  # files in one command: some 50 ms


class ImportBatch(NamedTuple):
    """What one command takes in."""

    differences: Differences
    read: dict[ContentPath, FileRead]


def import_batches(differences: Differences, read: Mapping[ContentPath, FileRead]) -> Iterator[ImportBatch]:
    """The differences, in an order in which each can be taken in after those before it.

    All that directories have to do with comes first and at once; a file's old place and its new one stay together.
    """
    for parts in in_batches(_parts(differences, read), _size, total=LOT):
        lot = ImportBatch(Differences(), {})
        for part in parts:
            lot.differences.appeared += part.appeared
            lot.differences.changed += part.changed
            lot.differences.gone += part.gone
            paths = [one.found.path for one in (*part.appeared, *part.changed)]
            lot.read.update((path, read[path]) for path in paths if path in read)
        if lot.differences.any:
            yield lot


def _size(part: Differences) -> int:
    return len(part.appeared) + len(part.changed) + len(part.gone)


def _parts(differences: Differences, read: Mapping[ContentPath, FileRead]) -> Iterator[Differences]:
    """What has to be taken in by the same command, each."""
    first, others = Differences(), dict[Hashable, Differences]()
    keys = _Keys(differences, read)
    for gone in differences.gone:
        _part(first, others, keys.of_gone(gone)).gone.append(gone)
    for appeared in differences.appeared:
        _part(first, others, keys.of_appeared(appeared)).appeared.append(appeared)
    for changed in differences.changed:
        _part(first, others, _of_changed(changed)).changed.append(changed)
    yield first
    yield from others.values()


def _part(first: Differences, others: dict[Hashable, Differences], key: Hashable) -> Differences:
    return first if key is None else others.setdefault(key, Differences())


def _of_changed(one: ChangedFile) -> Hashable:
    return one.entry


class _Keys:
    """What belongs together has the same key; what comes first has none."""

    def __init__(self, differences: Differences, read: Mapping[ContentPath, FileRead]) -> None:
        appeared = differences.appeared
        self._digests = {path: one.body.digest for path, one in read.items()}
        self._moved = {one.was for one in appeared}
        self._came = {self._digests.get(one.found.path) for one in appeared if one.was is None} - {None}
        self._directories = {one.found.path for one in appeared if one.found.what is FileType.DIRECTORY}
        self._lost = {one.digest for one in differences.gone} - {None}

    def of_gone(self, one: GoneEntry) -> Hashable:
        if one.kind is Kind.DIRECTORY or one.path in self._directories:
            return None
        return one.digest if one.entry not in self._moved and one.digest in self._came else one.entry

    def of_appeared(self, one: NewPath) -> Hashable:
        if one.found.what is FileType.DIRECTORY:
            return None
        digest = self._digests.get(one.found.path)
        return one.was or (digest if digest in self._lost else one.found.path)
