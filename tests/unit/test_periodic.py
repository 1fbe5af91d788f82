"""Doing something every so often."""

from __future__ import annotations

import asyncio
import logging

import pytest

from evstore.periodic import every


async def test_what_fails_is_done_again(caplog: pytest.LogCaptureFixture) -> None:
    calls = 0
    enough = asyncio.Event()

    async def work() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError("the first time")
        if calls == 3:
            enough.set()

    task = asyncio.create_task(every(0.01, work))
    await asyncio.wait_for(enough.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert "the first time" in caplog.text
