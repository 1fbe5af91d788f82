"""/api/config: what extensions keep for themselves."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import jupyter_core.paths
import orjson
import pytest

from tests.helpers import Server

PATH = "/api/config/example"


def folder(server: Server) -> Path:
    settings_dir = server.services.config.settings_dir
    assert settings_dir is not None
    made = settings_dir / "serverconfig"
    made.mkdir(parents=True, exist_ok=True)
    return made


async def get(server: Server, path: str = PATH) -> Any:
    reply = await server.fetch("GET", path)
    assert reply.status == 200
    return reply.json()


async def test_what_nobody_wrote_is_empty(server: Server):
    assert await get(server) == {}


async def test_put_replaces_and_patch_merges(server: Server):
    """Null deletes, and what is left empty disappears."""
    sample = {"foo": "bar", "baz": 73, "sub": {"a": 6, "b": 7}, "sub2": {"c": 8}}
    reply = await server.fetch("PUT", PATH, json=sample)
    assert (reply.status, reply.body) == (204, b"")
    assert await get(server) == sample
    changes = {"foo": None, "baz": [1], "sub": {"a": 8, "b": None, "d": 9}, "sub2": {"c": None}, "none": None}
    reply = await server.fetch("PATCH", PATH, json=changes)
    assert (reply.status, reply.json()) == (200, {"baz": [1], "sub": {"a": 8, "d": 9}})
    assert await get(server) == reply.json()
    await server.fetch("PUT", PATH, json={})
    assert await get(server) == {}


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        ({"a": 5}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": [1]}, {"a": {"b": None}}, {}),
        ({"a": {"b": 1}}, {"a": 5}, {"a": 5}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}),
        ({"a": {"b": {"c": 1}}, "d": 1}, {"a": {"b": {"c": None}}}, {"d": 1}),
        ({}, {"": {"é": "\u0000"}}, {"": {"é": "\u0000"}}),
    ],
)
async def test_a_key_gets_another_type(server: Server, before: Any, changes: Any, after: Any):
    await server.fetch("PUT", PATH, json=before)
    reply = await server.fetch("PATCH", PATH, json=changes)
    assert (reply.status, reply.json()) == (200, after)


async def test_what_is_too_deep_is_refused(server: Server):
    def nested(depth: int) -> bytes:
        return b'{"a":' * depth + b"1" + b"}" * depth

    for method, status in (("PUT", 204), ("PATCH", 200)):
        assert (await server.fetch(method, PATH, data=nested(100))).status == status
        for depth in (101, 300, 999, 100_000):
            assert (await server.fetch(method, PATH, data=nested(depth))).status == 400
        lists = b'{"a":' + b"[" * 200 + b"]" * 200 + b"}"
        assert (await server.fetch(method, PATH, data=lists)).status == 400


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("body", [b"", b"[]", b"5", b"null", b"{", b"\xff"])
async def test_what_is_no_object_is_refused(server: Server, method: str, body: bytes):
    assert (await server.fetch(method, PATH, data=body)).status == 400
    assert await get(server) == {}


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("n", 204),
        ("A_9", 204),
        ("%C3%A9", 204),
        ("a-b", 404),
        ("a.b", 404),
        ("..%2Fx", 404),
        ("", 302),
        ("x" * 300, 400),
    ],
)
async def test_names(server: Server, name: str, status: int):
    assert (await server.fetch("PUT", f"/api/config/{name}", json={"a": 1})).status == status
    if status == 204:
        assert await get(server, f"/api/config/{name}") == {"a": 1}


async def test_defaults_of_packages_show_through(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Files in the folder `example.d` as well; what the user wrote counts most, and a PATCH answers just that."""
    sections = server.services.sections
    installed = tmp_path / "installed"
    (installed / "example.d").mkdir(parents=True)
    (installed / "example.d" / "one.json").write_bytes(orjson.dumps({"a": 1, "b": {"c": 1, "d": 1}}))
    (installed / "example.json").write_bytes(orjson.dumps({"b": {"c": 2}}))
    monkeypatch.setattr(sections, "_defaults", [installed])
    assert await get(server) == {"a": 1, "b": {"c": 2, "d": 1}}
    reply = await server.fetch("PATCH", PATH, json={"b": {"c": 3}})
    assert reply.json() == {"b": {"c": 3}}
    assert await get(server) == {"a": 1, "b": {"c": 3, "d": 1}}


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b"5", b"\xff", b"[" * 99_999])
async def test_a_broken_file_counts_as_missing(
    server: Server, broken: bytes, caplog: pytest.LogCaptureFixture
):
    (folder(server) / "example.json").write_bytes(broken)
    with caplog.at_level(logging.WARNING):
        assert await get(server) == {}
    assert "example.json is left out" in caplog.text
    assert (await server.fetch("PATCH", PATH, json={"a": 1})).json() == {"a": 1}
    assert await get(server) == {"a": 1}


async def test_jupyter_server_reads_the_same(server: Server):
    """What is written here is found by it, and the other way round."""
    from jupyter_server.services.config.manager import ConfigManager

    await server.fetch("PUT", PATH, json={"a": {"b": 1}})
    theirs = ConfigManager(read_config_path=[str(folder(server))], write_config_dir=str(folder(server)))
    assert theirs.get("example") == {"a": {"b": 1}}
    theirs.update("example", {"a": {"c": 2}})
    assert await get(server) == {"a": {"b": 1, "c": 2}}
    assert jupyter_core.paths.jupyter_config_path()
