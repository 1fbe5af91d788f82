"""/api/events: what happens, as jupyter_server tells it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from evstore.core.events import Author
from evstore.core.paths import ContentPath
from evstore.log import bodies
from evstore.services import event_publisher
from evstore.services.contents import SaveRequest
from evstore.services.event_publisher import CONTENTS, KERNEL_ACTIONS, Listener
from tests.helpers import Server

TEXT = {"type": "file", "format": "text", "content": "x"}
NOTEBOOK = {"type": "notebook", "content": {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}}
PATIENCE = 20  # seconds for an event to come
EVENT = {"schema_id": CONTENTS, "version": "1", "data": {"action": "save", "path": "x"}}


class Events:
    """An open websocket, and the events that came on it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def next(self) -> dict[str, Any]:
        message = await self.socket.receive(PATIENCE)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return json.loads(message.data)

    async def until(self, last: dict[str, Any]) -> list[dict[str, Any]]:
        """All events up to `last`, and with it."""
        found = [await self.next()]
        while found[-1] != last:
            found.append(await self.next())
        return found


@asynccontextmanager
async def listening(server: Server) -> AsyncGenerator[Events]:
    socket = await server.connect("/api/events/subscribe")
    try:
        yield Events(socket)
    finally:
        await socket.close()


@pytest.fixture
async def events(server: Server) -> AsyncIterator[Events]:
    async with listening(server) as events:
        yield events


def contents(action: str, path: str, source: str | None = None) -> dict[str, Any]:
    found = {"schema_id": CONTENTS, "action": action, "path": path}
    return found | ({"source_path": source} if source is not None else {})


# -- changes of contents -----------------------------------------------------------------


async def test_each_change_is_told_once(server: Server, events: Events):
    """In jupyter_server's words, and nothing is told of reading, checkpoints and trust."""

    async def ask(method: str, path: str, **kwargs: Any) -> Any:
        reply = await server.fetch(method, path, **kwargs)
        assert reply.status < 300, reply
        return reply.json() if reply.body else None

    await ask("PUT", "api/contents/d", json={"type": "directory"})
    await ask("PUT", "api/contents/d/a.txt", json=TEXT)
    await ask("PUT", "api/contents/d/a.txt", json=TEXT)  # the same bytes: nothing has happened
    await ask("PUT", "api/contents/d/a.txt", json=TEXT | {"content": "y"})
    await ask("POST", "api/contents/d", json={"type": "notebook"})
    await ask("GET", "api/contents/d/a.txt")
    mark = await ask("POST", "api/contents/d/a.txt/checkpoints")
    await ask("POST", "api/contents/d/Untitled.ipynb/trust")
    await ask("PATCH", "api/contents/d/a.txt", json={"path": "d/b.txt"})
    await ask("POST", "api/contents", json={"copy_from": "d"})
    await ask("PUT", "api/contents/d/b.txt", json=TEXT | {"content": "z"})
    await ask("POST", f"api/contents/d/b.txt/checkpoints/{mark['id']}")
    await ask("DELETE", "api/contents/d")
    deleted = (await ask("GET", "api/history/deleted"))["deleted"][0]["entry"]
    await ask("POST", "api/history/undelete", json={"entry": deleted})
    await ask("PUT", "api/contents/end", json=TEXT)
    assert await events.until(contents("save", "end")) == [
        contents("save", "d"),
        contents("save", "d/a.txt"),
        contents("save", "d/a.txt"),
        contents("save", "d/Untitled.ipynb"),
        contents("rename", "d/b.txt", "d/a.txt"),
        contents("copy", "d-Copy1", "d"),
        contents("save", "d/b.txt"),
        contents("save", "d/b.txt"),
        contents("delete", "d"),
        contents("save", "d"),
        contents("save", "end"),
    ]


async def test_whoever_made_the_change(server: Server, events: Events):
    """A command line or the disk writes to the store, and asks no handler."""
    body = bodies.prepare(b"x", server.services.store.known, notebook=False)
    await server.services.contents.save(ContentPath("by.txt"), SaveRequest(body=body), Author.new("disk"))
    assert await events.next() == contents("save", "by.txt")


async def test_a_restore_of_all_is_told_file_by_file(server: Server, events: Events):
    for name in ("a", "b"):
        await server.fetch("PUT", f"api/contents/{name}", json=TEXT)
    then = server.services.store.offset
    await server.fetch("DELETE", "api/contents/a")
    await server.fetch("PUT", "api/contents/b", json=TEXT | {"content": "y"})
    await server.fetch("PATCH", "api/contents/b", json={"path": "c"})
    await server.fetch("POST", "api/history/restore", json={"at": then})
    await server.fetch("PUT", "api/contents/end", json=TEXT)
    *_, first, second, third, _ = await events.until(contents("save", "end"))
    restored = [contents("save", "a"), contents("rename", "b", "c"), contents("save", "b")]
    assert sorted(map(str, [first, second, third])) == sorted(map(str, restored))


async def test_hidden_files_are_not_told_of(server: Server, events: Events):
    body = bodies.prepare(b"x", server.services.store.known, notebook=False)
    by = Author.new("disk")
    await server.services.contents.save(ContentPath(".secret"), SaveRequest(body=body), by)
    await server.services.contents.save(ContentPath("seen"), SaveRequest(body=body), by)
    assert await events.next() == contents("save", "seen")


async def test_several_listen_and_one_comes_later(server: Server, events: Events):
    await server.fetch("PUT", "api/contents/a", json=TEXT)
    assert await events.next() == contents("save", "a")
    async with listening(server) as other:
        await server.fetch("PUT", "api/contents/b", json=TEXT)
        assert await events.next() == await other.next() == contents("save", "b")
    await server.fetch("PUT", "api/contents/c", json=TEXT)
    assert await events.next() == contents("save", "c")


async def test_without_listeners_nothing_is_followed(server: Server):
    announcer = server.services.announcer
    for _ in range(3):
        async with listening(server):
            assert announcer.listeners == 1
        while announcer.listeners:
            await asyncio.sleep(0.01)
    while any("Announcer" in repr(task.get_coro()) for task in asyncio.all_tasks()):
        await asyncio.sleep(0.01)  # a follower that nobody ends runs into the time limit
    await server.fetch("PUT", "api/contents/before", json=TEXT)
    async with listening(server) as events:
        await server.fetch("PUT", "api/contents/after", json=TEXT)
        assert await events.next() == contents("save", "after")


# -- kernels -------------------------------------------------------------------------------


def kernel(action: str, kernel_id: str, done: str) -> dict[str, Any]:
    return {
        "schema_id": KERNEL_ACTIONS,
        "action": action,
        "kernel_id": kernel_id,
        "kernel_name": "python3",
        "status": "success",
        "msg": f"Kernel {kernel_id} was {done}.",
    }


async def test_what_is_done_to_a_kernel(server: Server, events: Events):
    kernel_id = str(uuid.uuid4())
    await server.fetch("POST", "api/kernels", json={"kernel_id": kernel_id})
    await server.fetch("POST", f"api/kernels/{kernel_id}/interrupt")
    await server.fetch("POST", f"api/kernels/{kernel_id}/restart")
    await server.fetch("DELETE", f"api/kernels/{kernel_id}")
    for action, done in event_publisher.DONE.items():
        assert await events.next() == kernel(action, kernel_id, done)


async def test_a_kernel_that_does_not_start(server: Server, events: Events):
    reply = await server.fetch("POST", "api/kernels", json={"name": "nope"})
    assert await events.next() == {
        "schema_id": KERNEL_ACTIONS,
        "action": "start",
        "kernel_name": "nope",
        "status": "error",
        "msg": reply.json()["message"],
    }


# -- posting ---------------------------------------------------------------------------------


async def test_a_posted_event_reaches_the_listeners(server: Server, events: Events):
    for more in ({}, {"version": 1}, {"timestamp": "2022-05-26T12:50:00+06:00Z"}):
        reply = await server.fetch("POST", "api/events", json=EVENT | more)
        assert (reply.status, reply.body) == (204, b"")
        assert await events.next() == contents("save", "x")


BAD = [
    ({}, "Missing `schema_id` in the JSON request body."),
    ({"schema_id": CONTENTS}, "Missing `version` in the JSON request body."),
    ({"schema_id": CONTENTS, "version": "1"}, "Missing `data` in the JSON request body."),
    (EVENT | {"schema_id": "http://x/UNREGISTERED"}, "was not found in the schema registry"),
    (EVENT | {"schema_id": {}}, "was not found in the schema registry"),
    (EVENT | {"version": 2}, f"Unregistered version: '2'≠'1' for `{CONTENTS}`"),
    (EVENT | {"version": None}, "Unregistered version"),
    (EVENT | {"timestamp": "2022-05-26 12:50:00"}, "Failed to parse timestamp"),
    (EVENT | {"timestamp": 5}, "Failed to parse timestamp"),
]
BAD_DATA = [
    [],
    "x",
    None,
    {},
    {"action": "save"},
    {"action": "eat", "path": "x"},
    {"action": "save", "path": 5},
]


@pytest.mark.parametrize("heard", [True, False])
@pytest.mark.parametrize(("body", "message"), BAD)
async def test_bad_events(server: Server, body: dict[str, Any], message: str, heard: bool):
    async def post() -> None:
        reply = await server.fetch("POST", "api/events", json=body)
        assert reply.status == 400
        assert message in reply.json()["message"]

    if heard:
        async with listening(server):
            await post()
    else:
        await post()


@pytest.mark.parametrize("data", BAD_DATA)
async def test_data_is_checked_when_somebody_listens(server: Server, data: Any):
    """As in jupyter_server: without listeners and sinks it emits nothing, and so finds nothing wrong."""
    assert (await server.fetch("POST", "api/events", json=EVENT | {"data": data})).status == 204
    async with listening(server) as events:
        reply = await server.fetch("POST", "api/events", json=EVENT | {"data": data})
        assert (reply.status, reply.json()["reason"]) == (400, None)
        await server.fetch("POST", "api/events", json=EVENT)
        assert await events.next() == contents("save", "x")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"\xff", b"[" * 99_999])
async def test_what_is_no_event(server: Server, body: bytes):
    assert (await server.fetch("POST", "api/events", data=body)).status == 400


async def test_large_events_are_refused(server: Server):
    reply = await server.fetch("POST", "api/events", json=EVENT | {"data": {"path": "x" * 300_000}})
    assert reply.status == 413


# -- the websocket ----------------------------------------------------------------------------


async def test_the_socket_stays_open_and_ignores_what_it_hears(server: Server, events: Events):
    for data in ("x", '{"schema_id": "x"}'):
        await events.socket.send_str(data)
    await events.socket.send_bytes(b"\x00")
    await events.socket.ping()
    await server.fetch("PUT", "api/contents/a", json=TEXT)
    assert await events.next() == contents("save", "a")


async def test_the_socket_refuses_floods(events: Events):
    await events.socket.send_str("x" * 100_000)
    message = await events.socket.receive()
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1009)


async def test_plain_get_is_an_error(server: Server):
    reply = await server.fetch("GET", "/api/events/subscribe")
    assert reply.status == 400
    assert reply.json()["message"]
    assert server.services.announcer.listeners == 0


async def test_strangers_hear_nothing(server: Server):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await server.connect("/api/events/subscribe", stranger=True)
    assert refused.value.status == 403
    assert (await server.fetch("POST", "/api/events", stranger=True, json=EVENT)).status == 403


async def test_a_listener_that_is_too_far_behind_has_lost_all():
    listener = Listener()
    listener.put(b"x" * (event_publisher.MAX_WAITING - 1))
    listener.put(b"yy")
    listener.put(b"z")
    assert await listener.next() is None
    assert await listener.next() is None


async def test_a_slow_client_is_sent_away(server: Server, monkeypatch: pytest.MonkeyPatch):
    """It reads nothing: the server keeps no more than MAX_WAITING, and serves the others."""
    monkeypatch.setattr(event_publisher, "MAX_WAITING", 300_000)
    async with listening(server) as slow, listening(server) as other:
        transport = slow.socket._response.connection.transport  # pyright: ignore
        transport.pause_reading()
        data = {"action": "save", "path": "p" * 200_000}
        for _ in range(200):
            assert (await server.fetch("POST", "api/events", json=EVENT | {"data": data})).status == 204
            assert len((await other.next())["path"]) == 200_000
            if server.services.announcer.listeners == 1:
                break
        transport.resume_reading()
        while (message := await slow.socket.receive(PATIENCE)).type is aiohttp.WSMsgType.TEXT:
            continue
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1013)


async def test_the_schemas_are_those_of_jupyter_server(server: Server):
    known = (await server.services.announcer.events()).schemas
    assert {CONTENTS, KERNEL_ACTIONS} < set(known.schema_ids)
