"""JSON of the wrong type is refused, also where it counts as false in Python."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers import Server

FILE: dict[str, Any] = {"type": "file", "format": "text", "content": ""}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "api/contents/b.txt", {"copy_from": {}}),
        ("PUT", "api/contents/b.txt", {"copy_from": False}),
        ("PUT", "api/contents/b.txt", {"copy_from": 0, "type": "file", "format": "text", "content": ""}),
        ("PUT", "api/contents/b.txt", {"type": {}}),
        ("PUT", "api/contents/b.txt", FILE | {"evstore": "now"}),
        ("PUT", "api/contents/b.txt", FILE | {"evstore": {"executable": 1}}),
        ("PUT", "api/contents/b.txt", FILE | {"evstore": {"modified": 1}}),
        ("PUT", "api/contents/b.txt", FILE | {"evstore": {"modified": "yesterday"}}),
        ("PUT", "api/contents/b.txt", FILE | {"evstore": {"modified": "2026-11-22T10:00:00"}}),
        ("PUT", "api/contents/b.txt", FILE | {"evstore": {"modified": "1969-12-31T23:59:59Z"}}),
        ("PUT", "api/contents/b.txt", FILE | {"chunk": 1, "evstore": {"modified": False}}),
        ("POST", "api/contents", {"copy_from": []}),
        ("POST", "api/notebooks", {"copy_from": {}}),
        ("POST", "api/notebooks", {"path": []}),
        ("PUT", "api/notebooks/a.ipynb", {"name": 0}),
        ("POST", "api/contents", {"ext": {}}),
        ("POST", "api/contents", {"ext": 0, "type": "file"}),
        ("POST", "api/contents", {"type": False}),
        ("PUT", "lab/api/workspaces/a", {"data": [], "metadata": {"id": "a"}}),
        ("PUT", "lab/api/workspaces/a", {"data": None, "metadata": {"id": "a"}}),
        ("PUT", "lab/api/workspaces/a", [{"data": {}, "metadata": {"id": "a"}}]),
    ],
)
async def test_wrong_types_are_refused(server: Server, method: str, path: str, body: Any):
    reply = await server.fetch(method, path, json=body)
    assert reply.status == 400
    assert reply.json()["message"]
    assert (await server.fetch("GET", "api/contents")).json()["content"] == []


@pytest.mark.parametrize("nothing", [None, ""])
async def test_a_copy_of_nothing_is_something_new(server: Server, nothing: str | None):
    reply = await server.fetch("POST", "api/contents", json={"copy_from": nothing})
    assert (reply.status, reply.json()["name"]) == (201, "untitled")


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": 0},
        {"path": []},
        {"type": 0},
        {"type": {}},
        {"name": False},
        {"kernel": {"name": 0}},
        {"kernel": {"name": []}},
        {"kernel": {"id": False}},
        {"kernel": []},
        {"env": []},
        {"env": False},
        {"env": {"KERNEL_A": 1}},
    ],
)
@pytest.mark.parametrize(
    "notebook", [{}, {"notebook": {"path": "b.ipynb"}}, {"notebook": {"name": "b.ipynb"}}]
)
async def test_wrong_types_are_refused_beside_what_old_clients_send(
    server: Server, notebook: dict[str, Any], wrong: Any
):
    wish = {"path": "a.ipynb", "type": "notebook", "kernel": {"name": "python3"}}
    assert (await server.fetch("POST", "api/sessions", json=wish | notebook | wrong)).status == 400
    assert (await server.fetch("GET", "api/kernels")).json() == []
    session = (await server.fetch("POST", "api/sessions", json=wish)).json()
    reply = await server.fetch("PATCH", f"api/sessions/{session['id']}", json=notebook | wrong)
    assert (reply.status, bool(reply.json()["message"])) == (400, True)
    assert [one["path"] for one in (await server.fetch("GET", "api/sessions")).json()] == ["a.ipynb"]


@pytest.mark.parametrize("path", ["", "/folder", "/missing"])
@pytest.mark.parametrize("version", ["x", "", "2", "4.5"])
async def test_the_version_of_notebooks_is_looked_at_for_folders_too(server: Server, path: str, version: str):
    await server.fetch("PUT", "api/contents/folder", json={"type": "directory"})
    assert (await server.fetch("GET", f"api/notebooks{path}?nbformat={version}")).status == 400
