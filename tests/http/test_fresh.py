"""Invariant 11: a client that has seen a write never gets an older reply, whatever others do meanwhile."""

from __future__ import annotations

import asyncio
import random

from evstore.core.paths import ContentPath
from tests.helpers import Server


def text(content: str) -> dict[str, str]:
    return {"type": "file", "format": "text", "content": content}


async def test_reads_after_a_write_show_it_and_listings_never_miss(server: Server) -> None:
    await server.fetch("PUT", "api/contents/d", json={"type": "directory"})
    stop = asyncio.Event()

    async def writer(number: int) -> None:
        path = f"api/contents/d/{number}"
        for turn in range(40):
            content = "x" * (turn + 1)
            assert (await server.fetch("PUT", path, json=text(content))).status in (200, 201)
            assert (await server.fetch("GET", path)).json()["content"] == content
            listing = (await server.fetch("GET", "api/contents/d")).json()["content"]
            assert next(m["size"] for m in listing if m["name"] == str(number)) == len(content)
            if turn % 10 == 9:
                moved = f"{path}-{turn}"
                name = f"d/{number}-{turn}"
                assert (await server.fetch("PATCH", path, json={"path": name})).status == 200
                assert (await server.fetch("GET", path)).status == 404
                assert (await server.fetch("GET", moved)).json()["content"] == content
                assert (await server.fetch("DELETE", moved)).status == 204

    async def watcher() -> int:
        looks = 0
        while not stop.is_set():
            reply = await server.fetch("GET", "api/contents/d")
            assert reply.status == 200
            looks += 1
            await asyncio.sleep(random.random() / 500)
        return looks

    watching = asyncio.create_task(watcher())
    await asyncio.gather(*(writer(number) for number in range(4)))
    stop.set()
    assert await watching > 10


async def test_a_save_whose_client_has_gone_is_seen_by_the_next_read(server: Server) -> None:
    await server.fetch("PUT", "api/contents/f", json=text("old"))
    await server.fetch("GET", "api/contents/f")
    for turn in range(20):
        save = asyncio.create_task(server.fetch("PUT", "api/contents/f", json=text(f"new {turn}")))
        await asyncio.sleep(random.random() / 300)
        save.cancel()
        await asyncio.gather(save, return_exceptions=True)
        await server.fetch("PUT", "api/contents/other", json=text(str(turn)))
        for _ in range(50):  # the save may still be on its way; a stale reply would stay
            shown = (await server.fetch("GET", "api/contents/f")).json()["content"]
            found = await server.services.contents.get(ContentPath("f"))
            if shown.encode() == await server.services.store.body(found.entry.digest):
                break
            await asyncio.sleep(0.02)
        else:
            raise AssertionError(f"the server goes on answering {shown!r}")
