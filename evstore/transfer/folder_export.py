"""Writing the tree, as it is now or was at any moment, onto the disk, byte for byte and with its dates."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from evstore.core.batching import in_batches
from evstore.core.entry import Entry
from evstore.core.errors import Exists
from evstore.core.events import Offset
from evstore.core.paths import ContentPath
from evstore.core.units import MIB
from evstore.log import bodies
from evstore.log.engine.base import Tx
from evstore.log.log import Moment
from evstore.projections import executables, tree
from evstore.services.contents import Contents
from evstore.store.body_upload import WHOLE
from evstore.store.store import Store

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
BATCH_FILES, BATCH_BYTES = 200, 8 * MIB  # what is read in one go

Progress = Callable[[int, int], None]  # how many are done, and of how many


class Wanted(NamedTuple):
    """A file to write."""

    place: Path
    entry: Entry
    executable: bool


@dataclass(slots=True)
class Exported:
    """What was written, and the moment that it shows."""

    offset: Offset
    files: int = 0
    directories: int = 0
    bytes: int = 0


async def export(
    store: Store, path: ContentPath, at: Moment | None, target: Path, progress: Progress, *, force: bool
) -> Exported:
    """Write what was below the directory `path` at that moment into `target`, which is made if need be.

    A file at `path` is written into `target` under its name. With `force`, `target` may hold files
    already: those of the same names are replaced, the others stay. Raises Exists, NotFound.
    """
    found = await Contents(store).get(path, at)
    done = Exported(found.offset)
    below = await store.read(lambda tx: list(tree.subtree(tx, found.entry, found.offset)))
    programs = await store.read(lambda tx: executables.executables(tx, found.offset))
    top = path if found.entry.is_directory else path.parent
    directories = [_place(target, top, entry) for entry in below if entry.is_directory and entry.path != top]
    files = [
        Wanted(_place(target, top, entry), entry, entry.id in programs)
        for entry in below
        if not entry.is_directory
    ]
    _prepare(target, directories, [file.place for file in files], force=force)
    done.directories = len(directories)
    for batch in in_batches(files, lambda one: one.entry.size or 0, total=BATCH_BYTES, count=BATCH_FILES):
        await _write_batch(store, batch)
        done.files += len(batch)
        done.bytes += sum(one.entry.size or 0 for one in batch)
        progress(done.files, len(files))
    return done


def _place(target: Path, top: ContentPath, entry: Entry) -> Path:
    return target / entry.path.removeprefix(top).removeprefix("/")


def _prepare(target: Path, directories: list[Path], files: list[Path], *, force: bool) -> None:
    """Make all directories, unless something is in the way of them or of the files."""
    if _has_something(target, force=force):
        _check_free(directories, files)
    target.mkdir(parents=True, exist_ok=True)
    for directory in directories:
        directory.mkdir(exist_ok=True)


def _has_something(target: Path, *, force: bool) -> bool:
    if target.exists() and not target.is_dir():
        raise Exists(f"{target} is a file; a folder is needed to write into.")
    if not target.is_dir() or not any(target.iterdir()):
        return False
    if not force:
        raise Exists(f"{target} is not empty; with --force, files of the same names in it are replaced.")
    return True


def _check_free(directories: list[Path], files: list[Path]) -> None:
    """Raise Exists when something else is where a directory or a file has to go."""
    for path in directories:
        # a link that somebody put there could lead anywhere
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise Exists(f"{path} is in the way: a folder has to go there.")
    for path in files:
        if path.is_dir() and not path.is_symlink():
            raise Exists(f"{path} is in the way: a file has to go there.")


async def _write_batch(store: Store, batch: list[Wanted]) -> None:
    """One large file, streamed; or many small ones, without a thread hop for each."""
    large = batch[0]
    if (large.entry.size or 0) > WHOLE:
        with _written(large) as file:
            async for piece in store.stream(large.entry.digest):
                file.write(piece)
        return

    def write_all(tx: Tx) -> None:
        for one in batch:
            with _written(one) as file:
                file.write(bodies.read(tx, one.entry.digest) if one.entry.digest is not None else b"")

    await store.read(write_all)


@contextmanager
def _written(wanted: Wanted) -> Generator[BinaryIO]:
    """A file to write the entry's bytes to, which takes its place and its date once it is whole."""
    place, entry, executable = wanted
    made = place.with_name(f".evstore-{secrets.token_hex(8)}")
    try:
        descriptor = os.open(made, NEW, 0o777 if executable else 0o666)  # less what the user's umask takes
        with open(descriptor, "wb") as file:
            yield file
        os.utime(made, ns=(entry.modified * 1000, entry.modified * 1000))
        os.replace(made, place)
    except BaseException:
        made.unlink(missing_ok=True)
        raise
