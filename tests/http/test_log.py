"""The log over HTTP: as pages, as a feed that is followed, and what of it is told to nobody."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from evstore.core.events import Author
from evstore.core.paths import ContentPath
from evstore.log import bodies
from evstore.services.contents import Contents, SaveRequest
from tests.helpers import Server, StartServer
from tests.http.past import mkdir, save


async def test_the_log_can_be_filtered(server: Server) -> None:
    await mkdir(server, "d")
    await save(server, "d/f", "x")
    await save(server, "g", "x")
    found = (await server.fetch("GET", "api/history/log?path=d")).json()
    assert [(e["offset"], e["event"], e["path"]) for e in found["events"]] == [
        (1, "EntryCreated", "d"),
        (2, "EntryCreated", "d/f"),
        (3, "FileSaved", "d/f"),
    ]
    assert found["head"] == 5
    saved = (await server.fetch("GET", "api/history/log?event=FileSaved&after=3")).json()["events"]
    assert [e["offset"] for e in saved] == [5]
    assert saved[0]["data"]["size"] == 1
    assert (await server.fetch("GET", "api/history/log?event=Wat")).status == 400
    assert (await server.fetch("GET", "api/history/log?limit=x")).status == 400


async def test_the_feed_gives_what_was_and_then_what_comes(server: Server) -> None:
    await save(server, "f", "one")
    seen: list[dict[str, Any]] = []

    async def follow() -> None:
        headers = {"Authorization": "token test-token"}
        async with server.session.get(f"{server.url}api/history/feed?after=1", headers=headers) as reply:
            assert reply.headers["Content-Type"] == "text/event-stream"
            async for line in reply.content:
                if line.startswith(b"data: "):
                    seen.append(orjson.loads(line[6:]))
                    if len(seen) == 3:
                        return

    following = asyncio.create_task(follow())
    while not seen:
        await asyncio.sleep(0.01)
    await save(server, "f", "two")
    await save(server, "f", "three")
    await asyncio.wait_for(following, 10)
    assert [event["offset"] for event in seen] == [2, 3, 4]


async def test_what_happens_to_hidden_files_is_not_told(server: Server) -> None:
    """Git repositories that were taken in have some, and they are served nowhere."""
    store = server.services.store
    body = bodies.prepare(b"a secret", store.known, notebook=False)
    await Contents(store).save(ContentPath(".env"), SaveRequest(body=body), Author.new("import"))
    seen: list[Any] = []

    async def follow() -> None:
        headers = {"Authorization": "token test-token"}
        async with server.session.get(f"{server.url}api/history/feed?after=0", headers=headers) as reply:
            async for line in reply.content:
                if line.startswith(b"id: "):
                    seen.append(line)
                    return

    following = asyncio.create_task(follow())
    await save(server, "f", "one")
    for query in ("log", "log?limit=1", "versions/"):
        found = (await server.fetch("GET", f"api/history/{query}")).json()
        assert {event["path"] for event in found.get("events", found.get("versions"))} == {"f"}
    for address in (
        "contents/.env",
        "history/versions/.env",
        "history/diff/.env?from=1",
        "contents/.env?at=2",
    ):
        assert (await server.fetch("GET", f"api/{address}")).status == 404
    assert (await server.fetch("GET", "files/.env")).status == 404
    assert (await server.fetch("GET", "api/contents/")).json()["content"][0]["name"] == "f"
    await asyncio.wait_for(following, 10)
    assert seen == [b"id: 3\n"]


async def test_a_feed_that_is_followed_does_not_keep_the_server_from_stopping(
    start_server: StartServer,
) -> None:
    server = await start_server()
    reply = await server.session.get(
        f"{server.url}api/history/feed", headers={"Authorization": "token test-token"}
    )
    server.services.stop.set()
    assert await asyncio.wait_for(reply.content.read(), 5) == b""
    reply.close()


async def test_the_head_of_a_feed_is_all_of_it(server: Server) -> None:
    assert (await asyncio.wait_for(server.fetch("HEAD", "api/history/feed"), 5)).status == 200
    assert (await asyncio.wait_for(server.fetch("GET", "api"), 5)).status == 200
