"""JSON of the wrong type is refused, also where it counts as false in Python."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers import Server


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "api/contents/b.txt", {"copy_from": {}}),
        ("PUT", "api/contents/b.txt", {"copy_from": False}),
        ("PUT", "api/contents/b.txt", {"copy_from": 0, "type": "file", "format": "text", "content": ""}),
        ("PUT", "api/contents/b.txt", {"type": {}}),
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
