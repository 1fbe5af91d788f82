"""Checkpoints and history with a folder: what lies on the disk alone has neither, and is said to have none."""

from __future__ import annotations

from evstore.core.errors import NotFound
from evstore.core.events import Author, Offset
from evstore.core.paths import ContentPath
from evstore.log.log import Moment
from evstore.projections.checkpoints import Checkpoint
from evstore.services.checkpoints import Checkpoints
from evstore.services.folder_contents import NOT_IN_LOG, FolderContents
from evstore.services.history import FAR, Compared, History, HistoryItem, Restored
from evstore.store.store import Store

NONE = Offset(0)  # before the beginning: nothing can be restored from there


class FolderCheckpoints(Checkpoints):
    """The checkpoints of the files of a log and a folder."""

    def __init__(self, store: Store, contents: FolderContents) -> None:
        super().__init__(store)
        self._contents = contents

    async def create(self, path: ContentPath, author: Author, label: str | None = None) -> Checkpoint:
        """Of a file without versions nothing is kept: the checkpoint is number 0, is never listed, and can't be restored.

        JupyterLab makes one whenever it opens or saves a file, and would show an error each time.
        """
        try:
            return await super().create(path, author, label)
        except NOT_IN_LOG as error:
            entry = await self._contents.exists(path)
            if entry is None or entry.versioned or entry.is_directory:
                raise await self._contents.explain(path, error) from None
            self._contents.check_readable(path)
            return Checkpoint(NONE, entry.modified, label)

    async def restore(self, path: ContentPath, offset: int, author: Author) -> None:
        try:
            await super().restore(path, offset, author)
        except NOT_IN_LOG as error:
            raise await self._contents.explain(path, error) from None

    async def delete(self, path: ContentPath, offset: int, author: Author) -> None:
        try:
            await super().delete(path, offset, author)
        except NOT_IN_LOG as error:
            raise await self._contents.explain(path, error) from None


class FolderHistory(History):
    """The past of the files of a log and a folder."""

    def __init__(self, store: Store, contents: FolderContents) -> None:
        super().__init__(store)
        self._contents = contents

    async def versions(
        self, path: ContentPath, before: int = FAR, limit: int = 50
    ) -> tuple[list[HistoryItem], int | None]:
        try:
            return await super().versions(path, before, limit)
        except NotFound as error:
            raise await self._contents.explain(path, error) from None

    async def versions_between(self, path: ContentPath, start: Moment, end: Moment | None = None) -> Compared:
        try:
            return await super().versions_between(path, start, end)
        except NotFound as error:
            raise await self._contents.explain(path, error) from None

    async def restore(
        self, path: ContentPath, at: Moment, author: Author, *, dry_run: bool = False
    ) -> Restored:
        try:
            return await super().restore(path, at, author, dry_run=dry_run)
        except NotFound as error:
            raise await self._contents.explain(path, error) from None
