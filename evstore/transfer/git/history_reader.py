"""Commits out of a repository, made ready to be written: their files read, cut and compressed, on a worker thread."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from evstore.core.errors import Invalid
from evstore.core.events import Author
from evstore.core.paths import ContentPath, check_path
from evstore.core.units import MIB
from evstore.log import bodies
from evstore.log.bodies import Body
from evstore.store.body_upload import WHOLE, store_ahead, upload_body
from evstore.store.store import Store
from evstore.transfer.git.formats import LINK, PROGRAM, SUBMODULE, Change, Commit, Step
from evstore.transfer.git.replaying import Put
from evstore.transfer.git.repository import Object, Repository, Tag
from evstore.worktree.disk.rooted_dir import is_own
from evstore.worktree.disk.stat_checks import BAD_NAME

T = TypeVar("T")
ACTOR = "import"  # of chunks, which no event names yet
OWN = "in evstore's own folder"
BATCH_COMMITS = 200  # are written in one transaction
BATCH_BYTES = 8 * MIB  # of files that are held in memory; what is more is stored ahead
KINDS = {LINK: "a symbolic link", SUBMODULE: "a submodule"}  # by git's mode: what is no file


@dataclass(frozen=True, slots=True)
class Ready:
    """A commit that can be written."""

    id: str
    commit: Commit
    gone: list[ContentPath]
    puts: list[Put]
    tags: list[Tag]


@dataclass(slots=True)
class Reader:
    """Reads the commits of a line, batch by batch, on any thread but that of the event loop `loop`."""

    store: Store
    repository: Repository
    into: ContentPath
    max_size: int
    tags: dict[str, list[Tag]]  # by the commit that they name; the reader takes out what it came by
    loop: asyncio.AbstractEventLoop
    signed: int = 0
    skipped: dict[tuple[str, str], None] = field(default_factory=dict[tuple[str, str], None])
    _held: list[Body] = field(default_factory=list[Body])  # bodies that are in memory
    _weight: int = 0  # bytes of them

    def batches(self, newest: str, after: str | None) -> Generator[list[Ready]]:
        """The commits up to `newest`, those after `after` if it is given."""
        with closing(self.repository.steps(newest, after)) as steps:
            while batch := [self._read(step) for step in islice(steps, BATCH_COMMITS)]:
                self._let_go()
                yield batch

    def _read(self, step: Step) -> Ready:
        commit = self.repository.commit(step.commit)
        self.signed += commit.is_signed
        gone: list[ContentPath] = []
        puts: list[Put] = []
        for change in step.changes:
            path = self._path(change.path)
            before = path if change.source is None else self._path(change.source)
            put = self._put(change, path, before) if _is_file(change.mode) else None
            if put is not None:
                puts.append(put)
            elif change.mode in KINDS:
                self._skip(change.path, KINDS[change.mode])
            if before is not None and _is_file(change.old_mode) and (put is None or before != path):
                gone.append(before)
        return Ready(step.commit, commit, gone, puts, self.tags.pop(step.commit, []))

    def _path(self, raw: bytes) -> ContentPath | None:
        """Where a file of the repository goes; None when it can't."""
        try:
            path = self.into.child(raw.decode())
            check_path(path)
        except (UnicodeDecodeError, Invalid):
            return None
        return None if any(map(is_own, path.names)) else path

    def _skip(self, path: bytes, reason: str) -> None:
        self.skipped[(path.decode(errors="backslashreplace"), reason)] = None

    def _put(self, change: Change, path: ContentPath | None, before: ContentPath | None) -> Put | None:
        if path is None:
            names = change.path.decode(errors="replace").split("/")
            self._skip(change.path, OWN if any(map(is_own, filter(None, names))) else BAD_NAME)
            return None
        found = self.repository.open(change.blob)
        if found.size > self.max_size:
            self._skip(change.path, f"larger than {self.max_size:,} bytes")
            return None
        body = self._body(found, notebook=path.endswith(".ipynb"))
        return Put(path, body, change.mode == PROGRAM, before if before != path else None)

    def _body(self, found: Object, *, notebook: bool) -> Body:
        if found.size > WHOLE:
            return self._wait(
                upload_body(self.store, found, found.size, Author.new(ACTOR), notebook=notebook)
            )
        body = bodies.prepare(found.read(), self.store.known, notebook=notebook)
        body.plain = None  # its chunks suffice
        self._held.append(body)
        self._weight += body.weight
        if self._weight > BATCH_BYTES:
            self._wait(store_ahead(self.store, self._held, Author.new(ACTOR)))
            self._let_go()
        return body

    def _let_go(self) -> None:
        self._held, self._weight = [], 0

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()


def _is_file(mode: str) -> bool:
    return mode.startswith("100")  # 644, 755, and 664 in old repositories
