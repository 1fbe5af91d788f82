"""The pictures beside a notebook, for those who export it: what any reader of the folder may see, at the same moment."""

from __future__ import annotations

import logging
import posixpath
from dataclasses import dataclass

from evstore.core.errors import NotFound, TooLarge
from evstore.core.paths import ContentPath
from evstore.core.units import MIB
from evstore.http.paths import readable
from evstore.http.services import Services
from evstore.log.log import Moment
from evstore.processes.convert.jobs import Pictures
from evstore.worktree.disk.errors import FolderGone, Unreadable

logger = logging.getLogger(__name__)

LARGEST = 32 * MIB  # bytes of all pictures of a notebook together
NOT_THERE = (NotFound, TooLarge, Unreadable, FolderGone)


@dataclass(frozen=True, slots=True)
class Attachments:
    """What lies in a folder, as of a moment (None: now)."""

    app: Services
    folder: ContentPath
    at: Moment | None

    async def find(self, paths: list[str]) -> Pictures:
        """Those of the pictures that are there, by the paths of a notebook in the folder, as far as there is room.

        What is not found stays a reference, as it was.
        """
        found: Pictures = {}
        room = LARGEST
        for path in paths:
            try:
                data = await self._read(path, room)
            except NOT_THERE as error:
                logger.debug("An export goes without %s: %s", path, error.message)
                continue
            found[path] = data
            room -= len(data)
        return found

    async def _read(self, path: str, room: int) -> bytes:
        try:
            return await self._read_at(path, room)
        except NotFound:
            if not path.startswith("files/"):
                raise
            return await self._read_at(path.removeprefix("files/"), room)  # as in notebooks of IPython's time

    async def _read_at(self, path: str, room: int) -> bytes:
        there = readable(posixpath.normpath(posixpath.join("/" + self.folder, path)))
        if self.at is None:
            await self.app.store.look(there)
        entry = (await self.app.contents.get(there, self.at)).entry
        if entry.is_directory or (entry.size or 0) > room:
            raise TooLarge(f"{there} is too large to go into an export.")
        return (await self.app.contents.read(entry))[1]
