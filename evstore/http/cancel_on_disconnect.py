"""Work that is only worth its while as long as the client waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from aiohttp import web

T = TypeVar("T")

LOOK = 0.5  # seconds between looks at whether the client is still there


async def cancel_on_disconnect(request: web.Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client leaves: aiohttp lets handlers run on."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait((task,), timeout=LOOK)
            if request.transport is None and not task.done():
                raise ConnectionResetError("The client is gone")
        return task.result()
    finally:
        task.cancel()
