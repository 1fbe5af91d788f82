"""What is done as long as the server runs, whether anybody asks for something or not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NoReturn

logger = logging.getLogger(__name__)


async def every(seconds: float, work: Callable[[], Awaitable[None]]) -> NoReturn:
    """Do `work` every so many seconds, the first time after as many, until this is cancelled.

    When it fails, that is logged, and it is done again the next time.
    """
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except Exception:
            logger.exception("What is done every %g seconds has failed", seconds)


def begin(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run `work` in the background. When it fails, that is logged."""
    task = asyncio.create_task(work)
    task.add_done_callback(_report)
    return task


@asynccontextmanager
async def in_background(*works: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Run `works` beside the block, and cancel them at its end. One that fails is logged; the rest goes on."""
    tasks = [begin(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _report(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        logger.error("What is done in the background has failed: %s", task.get_coro(), exc_info=error)
