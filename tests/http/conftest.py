"""A real server for each test that asks for one: aiohttp on 127.0.0.1 and a free port.

`server` is signed in by its token; `start_server(**config)` starts one with other settings.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import pytest

from tests.helpers import Server, StartServer, make_services, run_test_server


@pytest.fixture
async def start_server(tmp_path: Path) -> AsyncIterator[StartServer]:
    """Start servers with settings of their own; all are stopped after the test."""
    numbers = count()
    async with AsyncExitStack() as stack:

        async def start(**config: object) -> Server:
            place = tmp_path / (str(number) if (number := next(numbers)) else "")  # a second one has its own
            place.mkdir(exist_ok=True)
            services = await stack.enter_async_context(make_services(place, **config))
            return await stack.enter_async_context(run_test_server(services))

        yield start


@pytest.fixture
async def server(start_server: StartServer) -> Server:
    return await start_server()
