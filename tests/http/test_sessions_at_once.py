"""Several requests for one session at once, with real kernels."""

from __future__ import annotations

import asyncio

from tests.helpers import Server
from tests.http.test_sessions import kernel_ids, open_session, patch, sessions


async def test_two_deletions_at_once(server: Server) -> None:
    session = await open_session(server)
    address = f"/api/sessions/{session['id']}"
    replies = await asyncio.gather(*(server.fetch("DELETE", address) for _ in range(3)))
    assert sorted(reply.status for reply in replies) == [204, 404, 404]
    assert await sessions(server) == await kernel_ids(server) == []


async def test_a_session_whose_kernel_is_being_deleted(server: Server) -> None:
    session = await open_session(server)
    deleting = asyncio.create_task(server.fetch("DELETE", f"/api/kernels/{session['kernel']['id']}"))
    kernel = server.services.kernels.get(session["kernel"]["id"])
    while not kernel.is_ending:
        await asyncio.sleep(0)
    reply = await server.fetch("DELETE", f"/api/sessions/{session['id']}")
    assert (reply.status, reply.json()["message"]) == (410, "Kernel deleted before session")
    assert (await deleting).status == 204
    assert await sessions(server) == []


async def test_opened_again_while_its_kernel_is_being_deleted(server: Server) -> None:
    session = await open_session(server)
    kernel = server.services.kernels.get(session["kernel"]["id"])
    deleting = asyncio.create_task(server.fetch("DELETE", f"/api/sessions/{session['id']}"))
    while not kernel.is_ending:
        await asyncio.sleep(0)
    again = await open_session(server)
    assert again["id"] != session["id"]
    assert again["kernel"]["id"] != session["kernel"]["id"]
    assert (await deleting).status == 204
    assert [one["id"] for one in await sessions(server)] == [again["id"]]
    assert await kernel_ids(server) == [again["kernel"]["id"]]


async def test_another_kernel_for_a_session_that_ends_meanwhile(server: Server) -> None:
    session = await open_session(server)
    replies = await asyncio.gather(
        patch(server, session, kernel={"name": "python3"}),
        server.fetch("DELETE", f"/api/kernels/{session['kernel']['id']}"),
    )
    assert replies[0].status in (200, 404)
    assert replies[1].status == 204
    left = await sessions(server)
    assert [one["kernel"]["id"] for one in left] == await kernel_ids(server)
    assert len(left) == (1 if replies[0].status == 200 else 0)


async def test_changes_while_the_kernel_starts(server: Server) -> None:
    opening = asyncio.create_task(open_session(server))
    while not server.services.sessions.all():
        await asyncio.sleep(0)
    [session] = await sessions(server)
    replies = await asyncio.gather(
        patch(server, session, path="b.ipynb"),
        patch(server, session, name="B"),
        patch(server, session, kernel={"name": "python3"}),
        patch(server, session, kernel={"name": "python3"}),
    )
    assert [reply.status for reply in replies] == [200] * 4
    await opening
    [now] = await sessions(server)
    assert (now["path"], now["name"]) == ("b.ipynb", "B")
    assert await kernel_ids(server) == [now["kernel"]["id"]]
