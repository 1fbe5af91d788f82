"""What programs write does not fill the log's disk: it is left out, and shown as it lies there, until there is room."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from evstore.worktree import working_folder
from tests.folder.clients import ask, save, text_of, until_listed
from tests.folder.mounts import mounted, remount
from tests.helpers import Server, StartServer

LARGE = 6_000_000  # bytes

pytestmark = pytest.mark.trouble


@pytest.fixture
async def server(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Server]:
    """Its log is on a disk of 8 MB."""
    monkeypatch.setattr(working_folder, "RETRY", 0.2)
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=8m", "tmpfs"):
        yield await start_server(db=tmp_path / "small" / "log.db")


async def model(server: Server, path: str) -> dict[str, Any]:
    reply = await ask(server, "GET", f"/api/contents/{path}?content=0")
    assert reply.status == 200, reply.text
    return reply.json()


async def until_versioned(server: Server, path: str) -> None:
    async with asyncio.timeout(30):
        while not (await model(server, path)).get("versioned", True):
            await asyncio.sleep(0.05)


def write(server: Server, name: str) -> bytes:
    """What no compression makes smaller."""
    data = os.urandom(LARGE)
    (server.services.config.folder / name).write_bytes(data)
    return data


async def test_what_there_is_no_room_for_is_left_out_until_there_is(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = write(server, "data.bin")
    write(server, "more.bin")
    (server.services.config.folder / "small.txt").write_text("small")
    await until_listed(server, "data.bin", "more.bin", "small.txt")
    assert (await model(server, "data.bin"))["versioned"] is False
    assert (await model(server, "small.txt")).get("versioned", True)
    assert (await ask(server, "GET", "/files/data.bin")).body == data
    assert (await save(server, "new.txt")).status == 201
    reply = await ask(server, "GET", "/api/contents/data.bin?at=1")
    assert reply.status == 404 and "too little room" in reply.text
    (warning,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert "too little room in" in warning.message
    remount(tmp_path / "small", "size=64m")
    await until_versioned(server, "data.bin")
    await until_versioned(server, "more.bin")


async def test_it_can_be_saved_over_and_deleted(server: Server) -> None:
    write(server, "data.bin")
    write(server, "more.bin")
    await until_listed(server, "data.bin", "more.bin")
    assert (await save(server, "data.bin", "small")).status == 200
    await until_versioned(server, "data.bin")
    assert await text_of(server, "data.bin") == "small"
    assert (await ask(server, "DELETE", "/api/contents/more.bin")).status == 204
    trash = server.services.config.folder / ".evstore/trash"
    assert [name.rpartition("-")[2] for name in os.listdir(trash)] == ["more.bin"]


async def test_what_a_file_becomes_is_not_lost_for_want_of_room(server: Server, tmp_path: Path) -> None:
    assert (await save(server, "a.txt", "one")).status == 201
    data = write(server, "a.txt")
    assert (await save(server, "a.txt", "two")).status == 200
    remount(tmp_path / "small", "size=64m")
    async with asyncio.timeout(30):
        while (await ask(server, "GET", "/files/a.txt")).body != data:
            await asyncio.sleep(0.05)
    versions = (await ask(server, "GET", "/api/history/versions/a.txt")).json()["versions"]
    assert [one["size"] for one in versions] == [LARGE, len("two"), len("one"), None]
