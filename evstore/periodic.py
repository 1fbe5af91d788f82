"""Doing something every so often, for as long as the server runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

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
