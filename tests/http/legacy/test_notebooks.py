"""/api/notebooks in the form of IPython 2 (jupyter-surface.md A.1)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import nbformat
import pytest

from tests.helpers import TOKEN, Server, StartServer

API = "/api/notebooks"
KEYS = {"name", "path", "type", "created", "last_modified"}


def notebook(*sources: str) -> dict[str, Any]:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


def old_notebook(source: str) -> dict[str, Any]:
    v3 = nbformat.v3
    cells = [v3.new_code_cell(input=source), v3.new_heading_cell(source="Top", level=2)]
    return v3.new_notebook(metadata=v3.new_metadata(name="old"), worksheets=[v3.new_worksheet(cells=cells)])


async def put(server: Server, path: str, *sources: str) -> None:
    reply = await server.fetch("PUT", f"{API}/{quote(path)}", json={"content": notebook(*sources)})
    assert reply.status == 201, reply.text


async def folder(server: Server, path: str) -> None:
    reply = await server.fetch("PUT", f"/api/contents/{quote(path)}", json={"type": "directory"})
    assert reply.status == 201, reply.text


async def sources(server: Server, path: str) -> list[str]:
    reply = await server.fetch("GET", f"{API}/{quote(path)}")
    assert reply.status == 200, reply.text
    return [cell["source"] for cell in reply.json()["content"]["cells"]]


async def names(server: Server, path: str = "") -> list[str]:
    return [model["name"] for model in (await server.fetch("GET", f"{API}/{quote(path)}")).json()]


async def test_a_directory_is_a_list_with_index_first_then_directories_then_notebooks(server: Server):
    for name in ("b.ipynb", "a.ipynb", "Index.ipynb"):
        await put(server, name)
    for name in ("zoo", "__pycache__"):
        await folder(server, name)
    await server.fetch(
        "PUT", "/api/contents/a.txt", json={"type": "file", "format": "text", "content": "not a notebook"}
    )
    reply = await server.fetch("GET", API)
    assert reply.status == 200
    assert [one["name"] for one in reply.json()] == ["Index.ipynb", "zoo", "a.ipynb", "b.ipynb"]
    assert [one["type"] for one in reply.json()] == ["notebook", "directory", "notebook", "notebook"]
    assert all(one.keys() == KEYS and one["path"] == "" for one in reply.json())
    assert (await server.fetch("GET", f"{API}/")).json() == reply.json()


async def test_a_notebooks_path_is_its_parent_directory(server: Server):
    await folder(server, "foo")
    await folder(server, "foo/bär")
    await put(server, "foo/bär/ä b.ipynb", "x = 1")
    reply = await server.fetch("GET", f"{API}/{quote('foo/bär/ä b.ipynb')}")
    model = reply.json()
    assert (model["name"], model["path"], model["type"]) == ("ä b.ipynb", "foo/bär", "notebook")
    assert model.keys() == KEYS | {"content"}
    assert model["content"]["cells"][0]["source"] == "x = 1"
    assert "Last-Modified" in reply.headers and "Location" not in reply.headers
    listed = (await server.fetch("GET", f"{API}/foo")).json()
    assert [(one["name"], one["path"]) for one in listed] == [("bär", "foo")]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "sentence"),
    [
        ("GET", "none.ipynb", None, 404, "Notebook does not exist: none.ipynb"),
        ("GET", "nowhere", None, 404, "No such directory: nowhere"),
        ("GET", ".hidden/a.ipynb", None, 404, "No such file or directory: .hidden/a.ipynb"),
        ("GET", "../a.ipynb", None, 404, None),
        ("GET", "broken.ipynb", None, 400, "Unreadable Notebook"),
        ("GET", "a.ipynb?nbformat=2", None, 400, "notebooks are given in nbformat 3 or 4"),
        ("GET", "dir.ipynb", None, 404, "Notebook does not exist: dir.ipynb"),
        ("POST", "a.ipynb", {}, 400, "Only POST to directories. Use PUT for full names."),
        ("POST", "nowhere", {}, 404, "No such directory: nowhere"),
        ("POST", "", {"copy_from": "a.ipynb", "content": {"x": 1}}, 400, "Can't upload and copy at the same"),
        ("POST", "", {"copy_from": "none.ipynb"}, 404, "Notebook does not exist: none.ipynb"),
        ("POST", "", {"copy_from": ["a.ipynb"]}, 400, "copy_from must be the name of a notebook"),
        ("POST", "", {"copy_from": "../a.ipynb"}, 404, None),
        ("POST", "?copy=none.ipynb", None, 404, "Notebook does not exist: none.ipynb"),
        ("POST", "", {"name": 5}, 400, "name must be a string"),
        ("POST", "", {"name": "x/y.ipynb"}, 400, "can't be the name"),
        ("POST", "", {"name": ".x"}, 400, "hidden"),
        ("POST", "", {"content": "text"}, 400, "must be a JSON object"),
        ("POST", "", {"content": {"cells": []}}, 400, "it has no nbformat"),
        ("PUT", "foo", {}, 400, "Only PUT to full names. Use POST for directories."),
        ("PUT", "a.ipynb", None, 400, "No notebook JSON data provided"),
        ("PUT", "a.ipynb", {"content": {"nbformat": 99}}, 400, "are unknown here"),
        ("PUT", "nowhere/a.ipynb", None, 404, "No such directory: nowhere"),
        ("PUT", ".a.ipynb", None, 400, "hidden"),
        ("PUT", "new.ipynb?copy=none.ipynb", None, 404, "Notebook does not exist: none.ipynb"),
        ("PUT", "b.ipynb?copy=a.ipynb", None, 409, "b.ipynb exists already"),
        ("PATCH", "foo", {"name": "b.ipynb"}, 400, "Notebook name missing"),
        ("PATCH", "a.ipynb", None, 400, "JSON body missing"),
        ("PATCH", "a.ipynb", {"name": "b.ipynb"}, 409, "Notebook with name already exists: b.ipynb"),
        ("PATCH", "a.ipynb", {"name": "../x.ipynb"}, 400, "can't be the name"),
        ("PATCH", "a.ipynb", {"path": "nowhere"}, 404, "No such directory: nowhere"),
        ("PATCH", "a.ipynb", {"path": 1}, 400, "must be strings"),
        ("PATCH", "a.ipynb", {"name": ".a.ipynb"}, 400, "hidden"),
        ("PATCH", "none.ipynb", {"name": "x.ipynb"}, 404, "Notebook does not exist: none.ipynb"),
        ("DELETE", "none.ipynb", None, 404, "Notebook does not exist: none.ipynb"),
        ("DELETE", "dir.ipynb", None, 404, "Notebook does not exist: dir.ipynb"),
        ("DELETE", "foo", None, 400, "Notebook name missing"),
        ("GET", "none.ipynb/checkpoints", None, 200, None),
        ("POST", "none.ipynb/checkpoints", None, 404, "Notebook does not exist: none.ipynb"),
        ("POST", "a.ipynb/checkpoints/9999", None, 404, "Notebook checkpoint does not exist: a.ipynb-9999"),
        ("POST", "a.ipynb/checkpoints/x", None, 404, "Notebook checkpoint does not exist: a.ipynb-x"),
        ("DELETE", "a.ipynb/checkpoints/1", None, 404, "Notebook checkpoint does not exist: a.ipynb-1"),
    ],
)
async def test_what_is_refused(
    server: Server, method: str, path: str, body: Any, status: int, sentence: str | None
):
    await put(server, "a.ipynb")
    await put(server, "b.ipynb")
    await folder(server, "foo")
    await folder(server, "dir.ipynb")
    broken = {"type": "file", "format": "text", "content": "{"}
    await server.fetch("PUT", "/api/contents/broken.ipynb", json=broken)
    reply = await server.fetch(method, f"{API}/{path}", json=body)
    assert reply.status == status, reply.text
    if sentence:
        assert sentence in reply.json()["message"]
    assert await names(server) == ["dir.ipynb", "foo", "a.ipynb", "b.ipynb", "broken.ipynb"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b"\xff", b'"text"'])
async def test_a_body_that_is_no_object_is_refused(server: Server, body: bytes):
    reply = await server.fetch("PUT", f"{API}/a.ipynb", data=body)
    assert reply.status == 400, reply.text
    assert await names(server) == []


async def test_post_makes_a_notebook_whose_name_the_server_picks(server: Server):
    await folder(server, "foo")
    first = await server.fetch("POST", f"{API}/foo")
    second = await server.fetch("POST", f"{API}/foo", json={})
    assert [first.status, second.status] == [201, 201]
    assert [first.json()["name"], second.json()["name"]] == ["Untitled.ipynb", "Untitled1.ipynb"]
    assert first.headers["Location"] == "/api/notebooks/foo/Untitled.ipynb"
    assert first.json().keys() == KEYS and first.json()["path"] == "foo"
    assert await sources(server, "foo/Untitled.ipynb") == []


async def test_post_with_content_is_an_upload(server: Server):
    reply = await server.fetch("POST", API, json={"content": notebook("1"), "name": "ü p.ipynb"})
    assert (reply.status, reply.json()["name"]) == (201, "ü p.ipynb")
    assert reply.headers["Location"] == f"/api/notebooks/{quote('ü p.ipynb')}"
    assert await sources(server, "ü p.ipynb") == ["1"]
    taken = await server.fetch("POST", API, json={"content": notebook("2"), "name": "ü p"})
    assert taken.json()["name"] == "ü p1.ipynb"  # nothing is written over
    assert (await server.fetch("POST", API, json={"content": notebook("3")})).json()[
        "name"
    ] == "Untitled.ipynb"
    assert await sources(server, "ü p.ipynb") == ["1"]


async def test_post_copies_by_query_and_by_body(server: Server):
    await folder(server, "foo")
    await put(server, "foo/a.ipynb", "mine")
    await put(server, "top.ipynb", "top")
    by_query = await server.fetch("POST", f"{API}/foo?copy=a.ipynb")
    by_body = await server.fetch("POST", f"{API}/foo", json={"copy_from": "a.ipynb"})
    from_root = await server.fetch("POST", f"{API}/foo", json={"copy_from": "/top.ipynb"})
    found = [(one.status, one.json()["name"], one.json()["path"]) for one in (by_query, by_body, from_root)]
    expected = ["a-Copy1.ipynb", "a-Copy2.ipynb", "top.ipynb"]
    assert found == [(201, name, "foo") for name in expected]
    assert by_query.headers["Location"] == "/api/notebooks/foo/a-Copy1.ipynb"
    assert await sources(server, "foo/a-Copy2.ipynb") == ["mine"]


async def test_put_saves(server: Server):
    created = await server.fetch("PUT", f"{API}/a.ipynb", json={"content": notebook("1")})
    saved = await server.fetch("PUT", f"{API}/a.ipynb", json={"content": notebook("2"), "name": "a.ipynb"})
    assert (created.status, created.headers["Location"]) == (201, "/api/notebooks/a.ipynb")
    assert saved.status == 200 and "Location" not in saved.headers and "Last-Modified" in saved.headers
    assert await sources(server, "a.ipynb") == ["2"]


async def test_put_saves_and_renames_in_one(server: Server):
    await folder(server, "foo")
    await put(server, "a.ipynb", "1")
    await put(server, "taken.ipynb", "other")
    before = server.services.store.offset
    body = {"content": notebook("2"), "name": "b.ipynb", "path": "/foo/"}
    reply = await server.fetch("PUT", f"{API}/a.ipynb", json=body)
    assert reply.status == 200
    assert (reply.json()["name"], reply.json()["path"]) == ("b.ipynb", "foo")
    assert reply.headers["Location"] == "/api/notebooks/foo/b.ipynb"
    assert await sources(server, "foo/b.ipynb") == ["2"]
    log = (await server.fetch("GET", f"/api/history/log?after={before}")).json()["events"]
    assert [one["event"] for one in log] == ["EntryMoved", "FileSaved"]
    assert len({one["command"] for one in log}) == 1
    refused = await server.fetch(
        "PUT", f"{API}/foo/b.ipynb", json={"content": notebook("3"), "name": "taken.ipynb", "path": ""}
    )
    assert refused.status == 409
    assert await sources(server, "foo/b.ipynb") == ["2"] and await sources(server, "taken.ipynb") == ["other"]


async def test_put_without_a_body_makes_an_empty_notebook_of_that_name(server: Server):
    reply = await server.fetch("PUT", f"{API}/mine.ipynb")
    assert (reply.status, reply.json()["name"]) == (201, "mine.ipynb")
    assert await sources(server, "mine.ipynb") == []


async def test_put_copies_by_query_and_by_body(server: Server):
    await put(server, "a.ipynb", "1")
    for name, query, body in (("b", "?copy=a.ipynb", None), ("c", "", {"copy_from": "a.ipynb"})):
        reply = await server.fetch("PUT", f"{API}/{name}.ipynb{query}", json=body)
        assert (reply.status, reply.headers["Location"]) == (201, f"/api/notebooks/{name}.ipynb")
        assert await sources(server, f"{name}.ipynb") == ["1"]


async def test_patch_renames_and_takes_history_and_checkpoints_along(server: Server):
    await folder(server, "foo")
    await put(server, "a.ipynb", "1")
    made = (await server.fetch("POST", f"{API}/a.ipynb/checkpoints")).json()
    reply = await server.fetch("PATCH", f"{API}/a.ipynb", json={"name": "b.ipynb", "path": "foo"})
    assert (reply.status, reply.headers["Location"]) == (200, "/api/notebooks/foo/b.ipynb")
    assert reply.json().keys() == KEYS
    assert (await server.fetch("GET", f"{API}/foo/b.ipynb/checkpoints")).json() == [made]
    assert (await server.fetch("GET", f"{API}/a.ipynb")).status == 404
    same = await server.fetch("PATCH", f"{API}/foo/b.ipynb", json={})
    assert (same.status, same.json()["name"]) == (200, "b.ipynb")


async def test_delete(server: Server):
    await put(server, "a.ipynb", "1")
    await server.fetch("POST", f"{API}/a.ipynb/checkpoints")
    reply = await server.fetch("DELETE", f"{API}/a.ipynb")
    assert (reply.status, reply.body) == (204, b"")
    assert (await server.fetch("GET", f"{API}/a.ipynb/checkpoints")).json() == []
    (gone,) = (await server.fetch("GET", "/api/history/deleted/")).json()["deleted"]
    assert gone["path"] == "a.ipynb"


async def test_checkpoints(server: Server):
    await put(server, "a.ipynb", "1")
    first = await server.fetch("POST", f"{API}/a.ipynb/checkpoints")
    assert first.status == 201 and first.json().keys() == {"id", "last_modified"}
    assert first.headers["Location"] == f"/api/notebooks/a.ipynb/checkpoints/{first.json()['id']}"
    await server.fetch("PUT", f"{API}/a.ipynb", json={"content": notebook("2")})
    second = await server.fetch("POST", f"{API}/a.ipynb/checkpoints")
    listed = await server.fetch("GET", f"{API}/a.ipynb/checkpoints")
    assert listed.json() == [first.json(), second.json()]
    restored = await server.fetch("POST", f"{API}/a.ipynb/checkpoints/{first.json()['id']}")
    assert (restored.status, restored.body) == (204, b"")
    assert await sources(server, "a.ipynb") == ["1"]
    deleted = await server.fetch("DELETE", f"{API}/a.ipynb/checkpoints/{first.json()['id']}")
    assert (deleted.status, deleted.body) == (204, b"")
    assert (await server.fetch("GET", f"{API}/a.ipynb/checkpoints")).json() == [second.json()]


async def test_a_notebook_of_that_time_comes_and_goes_in_nbformat_3(server: Server):
    reply = await server.fetch("PUT", f"{API}/old.ipynb", json={"content": old_notebook("print 1")})
    assert reply.status == 201 and "message" not in reply.json()
    assert await sources(server, "old.ipynb") == ["print 1", "## Top"]  # unless asked, the present form
    content = (await server.fetch("GET", f"{API}/old.ipynb?nbformat=3")).json()["content"]
    code, heading = content["worksheets"][0]["cells"]
    assert (content["nbformat"], code["input"], heading["level"]) == (3, "print 1", 2)
    await put(server, "new.ipynb", "x\ny")
    content = (await server.fetch("GET", f"{API}/new.ipynb?nbformat=3")).json()["content"]
    assert content["worksheets"][0]["cells"][0]["input"] == "x\ny"
    nbformat.validate(nbformat.from_dict(content))
    back = await server.fetch("PUT", f"{API}/new.ipynb", json={"content": content})
    assert back.status == 200 and await sources(server, "new.ipynb") == ["x\ny"]


async def test_a_notebook_that_is_not_valid_is_saved_and_says_so(server: Server):
    content = notebook("1")
    content["cells"][0]["outputs"] = [{"output_type": "no such"}]
    reply = await server.fetch("PUT", f"{API}/a.ipynb", json={"content": content})
    assert reply.status == 201 and "validation failed" in reply.json()["message"]


@pytest.mark.parametrize(("setting", "status"), [("redirect", 302), ("redirect308", 308)])
async def test_the_switch_leads_to_the_contents_api(start_server: StartServer, setting: str, status: int):
    server = await start_server(legacy_notebooks=setting, base_url="/a%40b/")
    query = "?content=0" if status == 308 else ""
    for method in ("GET", "PUT", "POST", "PATCH", "DELETE"):
        reply = await server.fetch(method, f"api/notebooks/{quote('ü /a')}.ipynb?content=0&token={TOKEN}")
        assert reply.status == status
        assert reply.headers["Location"] == f"/a%40b/api/contents/{quote('ü /a')}.ipynb{query}"
    reply = await server.fetch("POST", "api/notebooks/a.ipynb/checkpoints/7")
    assert reply.headers["Location"] == "/a%40b/api/contents/a.ipynb/checkpoints/7"
    assert (await server.fetch("GET", "api/notebooks")).headers["Location"] == "/a%40b/api/contents/"


async def test_a_client_that_follows_the_308_saves_there(start_server: StartServer):
    server = await start_server(legacy_notebooks="redirect308")
    body = {"type": "notebook", "content": notebook("1")}
    headers = {"Authorization": f"token {TOKEN}"}
    async with server.session.put(f"{server.url}api/notebooks/a.ipynb", json=body, headers=headers) as reply:
        assert reply.status == 201
    found = (await server.fetch("GET", "/api/contents/a.ipynb")).json()
    assert found["content"]["cells"][0]["source"] == "1"
