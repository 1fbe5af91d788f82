"""What is done as long as the server runs."""

from __future__ import annotations

import asyncio
import logging

import pytest

from evstore.runtime.background import every, in_background


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


async def test_what_fails_in_the_background_is_said_at_once_and_the_rest_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    has_ended = asyncio.Event()

    async def fails() -> None:
        raise ValueError("no reason")

    async def runs_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            has_ended.set()

    async with in_background(fails(), runs_on()):
        while not caplog.records:
            await asyncio.sleep(0.01)
        assert not has_ended.is_set()
    assert has_ended.is_set()
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "fails" in record.getMessage()
    assert "no reason" in caplog.text
