"""An event loop on a thread of its own, for coroutines that block."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")
Ready = Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]


class LoopThread:
    """The thread. It begins at once, and ends with `stop`, or with the process."""

    def __init__(self, name: str) -> None:
        ready: Ready = Future()
        self._running: set[Future[Any]] = set()
        self._thread = Thread(target=lambda: asyncio.run(_until_stopped(ready)), name=name, daemon=True)
        self._thread.start()
        self._loop, self._end = ready.result()

    def run(self, work: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Run a coroutine there; the result comes to the caller's event loop."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return asyncio.wrap_future(future)

    def cancel_all(self) -> None:
        """Cancel what is running. It may go on for a while to clean up."""
        for future in list(self._running):
            future.cancel()

    def stop(self) -> None:
        """End the thread; this blocks until it has ended, and all that its coroutines do on further threads."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()


async def _until_stopped(ready: Ready) -> None:
    end = asyncio.Event()
    ready.set_result((asyncio.get_running_loop(), end))
    await end.wait()
