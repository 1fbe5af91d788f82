"""Which directories are to be looked at, and since when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from evstore.core.paths import ContentPath

AGAIN = 0.15  # seconds after which a directory with files that are being written is looked at again
AT_THE_LATEST = 5.0  # seconds after which a file is taken though it is never quiet


class DirtyQueue:
    """Directories that may have changed, until somebody takes them to look at."""

    def __init__(self) -> None:
        self._since: dict[ContentPath, float] = {}
        self._deep = False  # all below them, too
        self._due = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._since)

    def add(self, directories: Iterable[ContentPath], *, deep: bool = False) -> None:
        """Look at these, now."""
        self._note(directories, deep=deep)
        if self._since:
            self._due.set()

    def add_later(
        self,
        directories: Iterable[ContentPath],
        *,
        since: dict[ContentPath, float] | None = None,
        deep: bool = False,
        seconds: float = AGAIN,
    ) -> None:
        """Look at these, which have waited since the given times (`time.monotonic`), after some seconds."""
        for path, moment in (since or {}).items():
            self._since[path] = min(moment, self._since.get(path, moment))
        self._note(directories, deep=deep)
        if self._since:
            asyncio.get_running_loop().call_later(seconds, self._due.set)

    async def wait(self) -> None:
        """Until there is something to look at."""
        while True:
            await self._due.wait()
            self._due.clear()
            if self._since:
                return

    def take(self) -> tuple[dict[ContentPath, float], bool]:
        """All there is to look at, with the time since when, and whether deeply. It is on the agenda no more."""
        taken, self._since = self._since, {}
        deep, self._deep = self._deep, False
        return taken, deep

    def _note(self, directories: Iterable[ContentPath], *, deep: bool) -> None:
        now = time.monotonic()
        for path in directories:
            self._since.setdefault(path, now)
        self._deep = self._deep or deep


def overdue(since: dict[ContentPath, float]) -> set[ContentPath]:
    """Those that have waited long enough for their files to be quiet."""
    limit = time.monotonic() - AT_THE_LATEST
    return {path for path, moment in since.items() if moment < limit}
