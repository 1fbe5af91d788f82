"""Files and directories with a folder: what the log has, and beside it what lies on the disk alone.

The log is asked first. What it has not is looked for on the disk, and what it is not to have is written there, without
an event: so it can't be undone, and what is deleted is moved to `.evstore/trash`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from evstore.core import naming, rules
from evstore.core.entry import Entry
from evstore.core.errors import EvstoreError, Invalid, NotFound
from evstore.core.events import Author, Offset
from evstore.core.paths import ContentPath
from evstore.log.bodies import Body
from evstore.log.log import Moment
from evstore.projections import executables
from evstore.services.contents import Contents, EntrySnapshot, Listing, Saved, SaveRequest
from evstore.store.body_upload import upload_body
from evstore.store.store import Depth, Store
from evstore.worktree.disk.errors import AccessDenied, Changed, FolderGone, NotVersioned, Unreadable
from evstore.worktree.disk.file_stat import StatStamp
from evstore.worktree.disk.stat_checks import Replacing
from evstore.worktree.trash.removal import trash_name
from evstore.worktree.unversioned.entries import OnDisk, etag_of
from evstore.worktree.unversioned.files import BLOCK, LINK, Unversioned
from evstore.worktree.working_folder import WorkingFolder

logger = logging.getLogger(__name__)

T = TypeVar("T")
NEVER = Offset(-1)  # where something is shown that changes without an event
NOT_IN_LOG = (NotFound, NotVersioned)


class FolderContents(Contents):
    """The tree of a log and of the folder that belongs to it."""

    def __init__(self, store: Store, folder: WorkingFolder, *, largest: int) -> None:
        """`largest`: bytes of a file without versions that is read in one piece."""
        super().__init__(store)
        self._folder = folder
        self._largest = largest

    @property
    def _disk(self) -> Unversioned:
        return self._folder.unversioned

    # -- reading ---------------------------------------------------------------------

    async def get(self, path: ContentPath, at: Moment | None = None) -> EntrySnapshot:
        try:
            return await super().get(path, at)
        except NotFound:
            there = await self._find(path)
            if there is None:
                return await super().get(path, at)  # it may have come into the log since
            if at is not None:
                raise self._without_versions(there) from None
            return EntrySnapshot(there, False, NEVER)

    async def list(self, path: ContentPath, at: Moment | None = None) -> Listing:
        if at is not None:
            return await super().list(path, at)
        try:
            listing = await super().list(path)
        except NotFound:
            there = await self._find(path)
            if there is not None and not there.is_directory:
                raise Invalid(f"{path} is not a directory.") from None
            if there is not None:
                return Listing(there, [*await asyncio.to_thread(self._disk.members, there)], NEVER)
            listing = await super().list(path)  # it may have come into the log since
        names = frozenset(member.name for member in listing.members)
        began, mark = time.time_ns(), self.change_token(path)
        try:
            more, passing = await asyncio.to_thread(self._disk.beside, path, names)
        except (NotFound, Unreadable, FolderGone):  # what the log has, can be shown all the same
            return listing._replace(offset=NEVER)
        if passing or mark is None or mark.as_read(began) != mark:  # or the next change could look the same
            listing = listing._replace(offset=NEVER)
        if not more:
            return listing
        return listing._replace(members=sorted([*listing.members, *more], key=lambda one: one.name))

    def check_readable(self, path: ContentPath) -> None:
        self._disk.check_readable(path)

    def check_parents(self, path: ContentPath) -> None:
        self._disk.check_directories(path)

    def change_token(self, path: ContentPath) -> StatStamp | None:
        try:
            found = os.lstat(f"{self._folder.unversioned.root}/{path}")
        except (OSError, ValueError):
            return None
        return StatStamp.of(found) if stat.S_ISDIR(found.st_mode) else None

    async def exists(self, path: ContentPath) -> Entry | None:
        known = await super().exists(path) or await self._find(path)
        return known or await super().exists(path)  # it may have come into the log since

    async def read(self, entry: Entry) -> tuple[Entry, bytes]:
        if not isinstance(entry, OnDisk):
            return await super().read(entry)
        return await asyncio.to_thread(self._disk.read, entry, self._largest)

    async def with_digest(self, entry: Entry) -> Entry:
        if not isinstance(entry, OnDisk):
            return await super().with_digest(entry)
        return await asyncio.to_thread(self._disk.digested, entry, self._largest)

    async def stream(self, entry: Entry, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes]:
        if not isinstance(entry, OnDisk):
            async for block in super().stream(entry, start, stop):
                yield block
            return
        stop = entry.size or 0 if stop is None else stop
        file = await asyncio.to_thread(self._disk.open, entry, stop)
        try:
            await asyncio.to_thread(file.seek, start)
            while start < stop and (block := await asyncio.to_thread(file.read, min(BLOCK, stop - start))):
                start += len(block)
                yield block
        finally:
            file.close()

    async def _find(self, path: ContentPath) -> OnDisk | None:
        return await asyncio.to_thread(self._disk.find, path)

    # -- writing ---------------------------------------------------------------------

    def has_versions(self, path: ContentPath, *, is_directory: bool = False, size: int = 0) -> bool:
        return self._disk.why(path, is_directory=is_directory, size=size) is None

    async def save(self, path: ContentPath, wish: SaveRequest, author: Author) -> Saved:
        self.check_readable(path)  # what nobody can read, nobody can keep
        if self.has_versions(path, size=wish.body.size):
            try:
                self.check_parents(path)
                return await super().save(path, wish, author)
            except NOT_IN_LOG as error:
                await self._check_on_disk(path.parent, error)
        known, replacing = await self._expected(path, wish)
        pieces = [wish.body.plain or b""] if wish.pieces is None else wish.pieces
        executable = bool(wish.executable)
        try:
            await self._do(
                self._disk.write, path, pieces, wish.modified, replacing=replacing, executable=executable
            )
        except Changed:
            await self._expected(path, wish)
            raise
        return Saved(await self._written(path), created=known is None)

    async def _expected(self, path: ContentPath, wish: SaveRequest) -> tuple[Entry | None, Replacing]:
        """What is there, and what may be written over without a version: anything, unless the log has it, or it was asked for something. Raises Conflict."""
        there = await self._do(self._disk.stamp, path)
        known = await super().exists(path)
        is_in_log = known is not None
        if known is None and (found := await self._find(path)) is not None:
            known, there = replace(found, digest=etag_of(found.stamp)), found.stamp
        rules.expect(known, path, wish.expected, present=wish.present, absent=wish.absent)
        if wish.absent or there is None:
            return known, "nothing" if wish.absent else "anything"
        return known, there if is_in_log or wish.present or wish.expected is not None else "anything"

    async def _check_on_disk(self, directory: ContentPath, error: EvstoreError) -> None:
        """Raise `error`, with which the log has refused, unless the directory has no versions, or is behind a link."""
        if await super().exists(directory) is not None or await self._find(directory) is None:
            raise error

    async def _written(self, path: ContentPath) -> Entry:
        """What was written to the disk; if it is one that is to have versions, the log has it now."""
        await self._folder.look(path, Depth.ITSELF)
        entry = await self.exists(path)
        if entry is None:
            raise NotFound(f"{path} was saved, and taken away from the disk by somebody else.")
        return entry

    async def create_directory(self, path: ContentPath, author: Author) -> Saved:
        if self.has_versions(path, is_directory=True):
            try:
                return await super().create_directory(path, author)
            except NOT_IN_LOG as error:
                await self._check_on_disk(path.parent, error)
        there = await self._find(path)
        if there is not None and there.is_directory:
            return Saved(there, created=False)
        if there is not None:
            raise Invalid(f"Not a directory: {path} is a file.")
        await self._do(self._disk.make_directory, path)
        return Saved(await self._written(path), created=True)

    async def create_untitled(
        self, directory: ContentPath, kind: str, extension: str, body: Body | None, author: Author
    ) -> Entry:
        name, insert = naming.untitled(kind, extension)
        if self.has_versions(directory.child(name), is_directory=body is None):
            try:
                return await super().create_untitled(directory, kind, extension, body, author)
            except NOT_IN_LOG as error:
                await self._check_on_disk(directory, error)
        pieces = None if body is None else [body.plain or b""]
        return await self._written(await self._do(self._disk.make_new, directory, name, insert, pieces))

    async def move(self, path: ContentPath, to: ContentPath, author: Author) -> Entry:
        entry = await super().exists(path)
        if entry is not None:
            return await self._move_in_log(entry, to, author)
        there = await self._find(path)
        if there is None:
            raise NotFound(f"No such file or directory: {path}")
        is_link = await self._do(self._disk.links.is_link, path)
        would = not is_link and self.has_versions(to, is_directory=there.is_directory, size=there.size or 0)
        would = would and self._closed(path) is None  # or it would have none either
        if would and await super().exists(to.parent) is not None:
            raise NotVersioned(f"{self._no_versions(there)} As {to} it would have some: copy it instead.")
        await self._do(self._disk.rename, path, to)
        return await self._written(to)

    async def _move_in_log(self, entry: Entry, to: ContentPath, author: Author) -> Entry:
        await self._do(self._disk.links.check_way, to)
        reason = self._disk.why(to, is_directory=entry.is_directory, size=entry.size or 0)
        if reason is None:
            try:
                return await super().move(entry.path, to, author)
            except NOT_IN_LOG as error:
                await self._check_on_disk(to.parent, error)
        raise NotVersioned(f"{entry.path} has versions, and {to} would have none. Copy it instead.")

    async def copy(
        self, source: ContentPath, to: ContentPath, author: Author, *, exact: bool = False
    ) -> Entry:
        original = await self.exists(source)
        if original is None:
            raise NotFound(f"No such file or directory: {source}")
        directory, size = to.parent if exact else to, original.size or 0
        is_aside = await super().exists(directory) is None and await self._find(directory) is not None
        is_aside = is_aside or (exact and not self.has_versions(to, size=size))
        if original.versioned and not is_aside:
            return await super().copy(source, to, author, exact=exact)
        if original.is_directory:
            raise NotVersioned(
                f"{source} can't be copied to {to}: where there are no versions, only files are copied."
            )
        path = to if exact else await self._do(self._disk.free_for_copy, directory, source.name)
        if is_aside or not self.has_versions(path, size=size):
            is_on_disk = isinstance(original, OnDisk)
            pieces = self._disk.pieces(original) if is_on_disk else [(await super().read(original))[1]]
            executable = await self._is_executable(original)
            await self._do(self._disk.write, path, pieces, replacing="nothing", executable=executable)
            return await self._written(path)
        assert isinstance(original, OnDisk)
        with await self._do(self._disk.open, original, 0) as file:
            body = await upload_body(self._store, file, size, author, notebook=path.name.endswith(".ipynb"))
        wish = SaveRequest(body=body, absent=True, executable=original.executable)
        return (await super().save(path, wish, author)).entry

    async def _is_executable(self, entry: Entry) -> bool:
        if isinstance(entry, OnDisk):
            return entry.executable
        return await self._store.read(lambda tx: executables.is_executable(tx, entry.id))

    async def delete(self, path: ContentPath, author: Author) -> None:
        try:
            await super().delete(path, author)
            return
        except NOT_IN_LOG as error:
            if await self._find(path) is None:
                raise await self.explain(path, error) from None
        name = trash_name(path)
        await self._do(self._disk.discard, path, name)
        logger.info(
            "%s had no versions; it was not deleted for good: it is .evstore/trash/%s now", path, name
        )

    async def trust(self, path: ContentPath, author: Author) -> None:
        try:
            await super().trust(path, author)
        except NOT_IN_LOG as error:
            there = await self._find(path)
            if there is None:
                raise await self.explain(path, error) from None
            raise NotVersioned(f"{self._no_versions(there)} So nobody can vouch for it.") from None

    def _no_versions(self, there: OnDisk) -> str:
        """The sentence that says so."""
        reason = LINK if there.linked else self._disk.why(there.path) or "it lies on the disk alone"
        return f"{there.path} has no versions: {reason}."

    def _without_versions(self, there: OnDisk) -> EvstoreError:
        return self._closed(there.path) or NotFound(self._no_versions(there))

    def _closed(self, path: ContentPath) -> AccessDenied | None:
        try:
            self.check_readable(path)
        except AccessDenied as closed:
            return closed
        return None

    async def explain(self, path: ContentPath, error: EvstoreError) -> EvstoreError:
        """Why the log, which has said `error`, knows nothing of `path`: it is on the disk alone, or it is nowhere."""
        there = await self._find(path)
        if there is not None:
            return self._without_versions(there)
        return error if isinstance(error, NotFound) else NotFound(f"No such file or directory: {path}")

    async def _do(self, work: Callable[..., T], *args: object, **options: object) -> T:
        return await asyncio.to_thread(partial(work, *args, **options))
