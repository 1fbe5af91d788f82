"""/api/me: who one is."""

from __future__ import annotations

from urllib.parse import quote

import orjson
import pytest

from tests.helpers import Server

FIELDS = {"username", "name", "display_name", "initials", "avatar_url", "color"}


async def test_identity_and_permissions(server: Server):
    asked = {"contents": ["read", "write"], "terminals": ["execute"], "nothing": []}
    reply = await server.fetch("GET", "/api/me?permissions=" + quote(orjson.dumps(asked).decode()))
    assert reply.status == 200
    model = reply.json()
    assert set(model) == {"identity", "permissions"}
    assert set(model["identity"]) == FIELDS
    updatable = ["name", "display_name", "initials", "avatar_url", "color"]
    assert model["permissions"] == {**asked, "updatable_fields": updatable}


@pytest.mark.parametrize(
    "permissions", ["[]", '"abc"', "{", '{"r": "action"}', '{"r": [5]}', '{"r": {}}', "x" * 5000]
)
async def test_bad_permissions(server: Server, permissions: str):
    reply = await server.fetch("GET", "/api/me?permissions=" + quote(permissions))
    assert reply.status == 400
    assert "permissions should be a JSON dict" in reply.json()["message"]


async def test_a_new_name_is_kept_in_the_cookie(server: Server):
    cookies = await server.log_in()
    before = await server.fetch("GET", "/api/me", stranger=True, headers=cookies)
    patch = await server.fetch(
        "PATCH", "/api/me", stranger=True, headers=cookies, json={"name": "Ada", "color": "#abc"}
    )
    assert patch.status == 200
    assert patch.json()["status"] == "success"
    name, value = next(iter(patch.cookies.items()))
    after = await server.fetch("GET", "/api/me", stranger=True, headers={"Cookie": f"{name}={value}"})
    expected = before.json()["identity"] | {"name": "Ada", "color": "#abc"}
    assert after.json()["identity"] == expected == patch.json()["identity"]


@pytest.mark.parametrize(
    "body",
    [
        *("", "{}", "[]", "{", '{"name": 5}', '{"fake": "x"}', '{"username": "root"}', '{"name": ""}'),
        *(r'{"name": "a\nb"}', r'{"color": "\u0000"}', r'{"initials": "\u202e"}'),
        *('{"avatar_url": "javascript:alert(1)"}', '{"avatar_url": "http://[x"}'),
    ],
)
async def test_bad_changes(server: Server, body: str):
    reply = await server.fetch("PATCH", "/api/me", data=body)
    assert reply.status == 400
    assert reply.json()["message"]


async def test_the_name_stands_in_the_history(server: Server):
    """What a browser does is done by its identity; a script with the token is just that."""
    cookies = await server.log_in()
    patch = await server.fetch("PATCH", "/api/me", stranger=True, headers=cookies, json={"name": "Ada"})
    name, value = next(iter(patch.cookies.items()))
    headers = {"Cookie": f"{name}={value}; _xsrf=a", "X-XSRFToken": "a"}
    save = {"type": "file", "format": "text", "content": "x"}
    assert (
        await server.fetch("PUT", "/api/contents/a.txt", stranger=True, headers=headers, json=save)
    ).status == 201
    assert (await server.fetch("PUT", "/api/contents/b.txt", json=save)).status == 201
    for path, actor in (("a.txt", "Ada"), ("b.txt", "token")):
        versions = (await server.fetch("GET", f"/api/history/versions/{path}")).json()["versions"]
        assert {version["actor"] for version in versions} == {actor}
