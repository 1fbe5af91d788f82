"""The clusters as a service: ipyparallel, on a thread of its own that is started when somebody asks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from evstore.core.errors import NotFound, Stopping, Unavailable
from evstore.processes.clusters.model import Profile
from evstore.runtime.loop_thread import LoopThread

if TYPE_CHECKING:
    from evstore.processes.clusters.parallel import Parallel

logger = logging.getLogger(__name__)
T = TypeVar("T")
STOP = 30.0  # seconds that clusters have to stop before they are killed
INSTALL = "Clusters need ipyparallel: pip install 'evstore[clusters]'"


class Clusters:
    """What clients do with clusters. Without ipyparallel there are none."""

    def __init__(self, folder: Path) -> None:
        self.installed = find_spec("ipyparallel") is not None
        self._folder = folder
        self._open: tuple[LoopThread, Parallel] | None = None
        self._opening = asyncio.Lock()
        self._is_closed = False

    async def profiles(self) -> list[Profile]:
        """All IPython profiles with their clusters, the default one first, then by name."""
        return await self._call(lambda parallel: parallel.profiles()) if self.installed else []

    async def profile(self, name: str) -> Profile:
        """One of them. Raises NotFound."""
        if not self.installed:
            raise NotFound("profile not found")
        return await self._call(lambda parallel: parallel.profile(name))

    async def start(self, name: str, engines: int | None) -> Profile:
        """Start a profile's cluster with so many engines; None: as its configuration says, or one for each CPU.

        Raises NotFound for an unknown profile, Exists when it runs, CannotStart, Unavailable without ipyparallel.
        """
        return await self._call(lambda parallel: parallel.start(name, engines))

    async def stop(self, name: str) -> Profile:
        """Stop it. Raises NotFound, Exists when it does not run, Unavailable."""
        return await self._call(lambda parallel: parallel.stop(name))

    async def models(self) -> list[dict[str, Any]]:
        """All clusters, in the form of ipyparallel's own API."""
        return await self._call(lambda parallel: parallel.models())

    async def create(
        self, profile: str | None, cluster_id: str | None, engines: int | None
    ) -> dict[str, Any]:
        """A new cluster, not started. Raises Exists."""
        return await self._call(lambda parallel: parallel.create(profile, cluster_id, engines))

    async def model(self, key: str) -> dict[str, Any]:
        """One cluster, in the form of ipyparallel's own API. Raises NotFound."""
        return await self._call(lambda parallel: parallel.model(key))

    async def start_one(self, key: str, engines: int | None) -> dict[str, Any]:
        """Start it. Raises NotFound, Exists, CannotStart."""
        return await self._call(lambda parallel: parallel.start_one(key, engines))

    async def remove(self, key: str) -> None:
        """Stop it, and forget it. Raises NotFound."""
        await self._call(lambda parallel: parallel.remove(key))

    async def close(self) -> None:
        """The server stops: stop all clusters that were started here."""
        self._is_closed = True
        async with self._opening:
            if self._open is not None:
                thread, parallel = self._open
                self._open = None
                thread.cancel_all()
                try:
                    async with asyncio.timeout(STOP):
                        await thread.run(parallel.close())
                    await asyncio.to_thread(thread.stop)
                except TimeoutError:  # ipyparallel waits for something; the thread ends with this process
                    logger.warning("Clusters did not stop in %d seconds and are killed", STOP)
                    await asyncio.to_thread(parallel.kill)

    async def _call(self, work: Callable[[Parallel], Coroutine[Any, Any, T]]) -> T:
        if not self.installed:
            raise Unavailable(INSTALL)
        async with self._opening:
            if self._is_closed:
                raise Stopping
            if self._open is None:
                thread = LoopThread("clusters")
                self._open = thread, await thread.run(_open(self._folder))
            thread, parallel = self._open
            doing = thread.run(work(parallel))
        try:
            return await doing
        except asyncio.CancelledError:
            if self._is_closed and doing.cancelled():
                raise Stopping from None
            raise


async def _open(folder: Path) -> Parallel:
    """On the thread, for importing ipyparallel takes a second."""
    from evstore.processes.clusters.parallel import Parallel

    return Parallel(folder)
