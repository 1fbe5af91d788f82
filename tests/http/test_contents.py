"""/api/contents as clients use it: statuses, models, names, conditions, bad input."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from evstore.core.events import Author
from evstore.core.paths import ContentPath
from evstore.log import bodies
from evstore.services.contents import SaveRequest
from tests.helpers import Server

NOTEBOOK: dict[str, Any] = {
    "cells": [
        {
            "cell_type": "code",
            "id": "a",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "source": "1+1\n2",
        }
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}
KEYS = {
    "name", "path", "type", "writable", "created", "last_modified", "mimetype", "content", "format", "size", "hash",
    "hash_algorithm",
}  # fmt: skip


def text(content: str) -> dict[str, Any]:
    return {"type": "file", "format": "text", "content": content}


async def put(server: Server, path: str, model: dict[str, Any], **kwargs: Any) -> Any:
    return await server.fetch("PUT", f"api/contents/{path}", json=model, **kwargs)


async def test_a_file_comes_back_as_it_was_saved(server: Server) -> None:
    saved = await put(server, "a%20b.txt", text("héllo\r\n"))
    assert saved.status == 201
    assert saved.headers["Location"] == "/api/contents/a%20b.txt"
    assert int(saved.headers["Evstore-Offset"]) == 2
    assert saved.json()["content"] is None and saved.json()["format"] is None
    got = (await server.fetch("GET", "api/contents/a%20b.txt")).json()
    assert set(got) == KEYS
    assert (got["content"], got["format"], got["mimetype"], got["size"]) == (
        "héllo\r\n",
        "text",
        "text/plain",
        8,
    )
    assert (await put(server, "a%20b.txt", text("more"))).status == 200


async def test_a_notebook_comes_back_and_its_bytes_are_nbformats(server: Server) -> None:
    saved = await put(server, "n.ipynb", {"type": "notebook", "format": "json", "content": NOTEBOOK})
    assert (saved.status, saved.json()["type"]) == (201, "notebook")
    got = (await server.fetch("GET", "api/contents/n.ipynb?hash=1")).json()
    assert got["content"]["cells"][0]["source"] == "1+1\n2"
    assert got["mimetype"] is None and got["format"] == "json" and got["hash_algorithm"] == "sha256"
    raw = await server.fetch("GET", "files/n.ipynb")
    assert raw.body.startswith(b'{\n "cells": [\n') and raw.body.endswith(b"}\n")
    assert len(raw.body) == got["size"]


async def test_what_a_listing_says_of_a_member_is_what_its_own_get_says(server: Server) -> None:
    await server.fetch("PUT", "api/contents/d", json={"type": "directory"})
    await put(server, "d/x.bin", {"type": "file", "format": "base64", "content": "AAEC"})
    await put(server, "d/n.ipynb", {"type": "notebook", "format": "json", "content": NOTEBOOK})
    listing = (await server.fetch("GET", "api/contents/d")).json()
    assert [member["name"] for member in listing["content"]] == ["n.ipynb", "x.bin"]
    for member in listing["content"]:
        assert member == (await server.fetch("GET", f"api/contents/{member['path']}?content=0")).json()


NAMES = ["50%.txt", "a#b?c+d.txt", "%2F.txt", "😀.txt", "e\u0301.txt", "\u00e9.txt", "a b.txt", "x" * 255]


@pytest.mark.parametrize("name", NAMES)
async def test_any_name_that_a_disk_can_hold_comes_back_exactly(server: Server, name: str) -> None:
    from urllib.parse import quote

    assert (await put(server, quote(name, safe=""), text(name))).status == 201
    listing = (await server.fetch("GET", "api/contents/")).json()["content"]
    assert [member["name"] for member in listing] == [name]
    assert (await server.fetch("GET", f"api/contents/{quote(name, safe='')}")).json()["content"] == name
    moved = await server.fetch("PATCH", f"api/contents/{quote(name, safe='')}", json={"path": "plain"})
    assert moved.json()["name"] == "plain"


BAD: list[tuple[str, str, Any, int]] = [
    ("GET", "..%2f..%2fetc%2fpasswd", None, 404),
    ("GET", "a%00b", None, 404),
    ("PUT", "a%00b", text("x"), 404),
    ("PUT", "..%2fx", text("x"), 404),
    ("PUT", "a%5Cb", text("x"), 400),
    ("PUT", "y" * 300, text("x"), 400),
    ("PUT", "f", {"type": "file", "content": "x"}, 400),
    ("PUT", "f", {"type": "file", "format": "base64", "content": "!!!"}, 400),
    ("PUT", "f", {"type": "file", "format": "text", "content": 5}, 400),
    ("PUT", "f", {"format": "text", "content": "x"}, 400),
    ("PUT", "f", {"type": "wat", "format": "text", "content": "x"}, 400),
    ("PUT", "f", {"type": "notebook", "format": "json", "content": "x"}, 400),
    ("PUT", "f", {"type": "notebook", "format": "json", "content": {"cells": 5}}, 400),
    ("PUT", "f", ["not", "an", "object"], 400),
    ("PUT", ".hidden", text("x"), 400),
    ("PUT", "f", text("x") | {"path": ".hidden"}, 400),
    ("PUT", "no/such/dir.txt", text("x"), 404),
    ("PUT", "f", text("x") | {"chunk": 2}, 400),
    ("PUT", "f", text("x") | {"chunk": "one"}, 400),
    ("PUT", "f", {"type": "notebook", "content": {}, "chunk": 1}, 400),
    ("GET", ".hidden", None, 404),
    ("GET", "?content=2", None, 400),
    ("GET", "?format=xml", None, 400),
    ("GET", "?type=notebook", None, 400),
    ("GET", "?at=nonsense", None, 400),
    ("GET", "?at=99999", None, 400),
    ("GET", "?at=-1", None, 400),
    ("GET", "?at=2001-01-01T00:00:00Z", None, 400),
    ("GET", "?at=2999-01-01T00:00:00Z", None, 400),
    ("GET", "?at=2026-01-01T00:00:00", None, 400),
    ("DELETE", "", None, 400),
    ("DELETE", "nothing", None, 404),
    ("PATCH", "nothing", {"path": "x"}, 404),
    ("PATCH", "there", {"path": "also"}, 409),
    ("PATCH", "there", {"path": ".x"}, 400),
    ("PATCH", "there", {"path": 5}, 400),
    ("PATCH", "there", None, 400),
    ("POST", "there", {}, 400),
    ("POST", "nothing", {}, 404),
    ("POST", "", {"type": "wat"}, 400),
    ("POST", "", {"ext": "/x"}, 400),
    ("POST", "", {"copy_from": "nothing"}, 404),
    ("POST", "", {"copy_from": ".x"}, 400),
    ("POST", "there/checkpoints/999", None, 404),
    ("POST", "there/checkpoints/wat", None, 404),
    ("DELETE", "there/checkpoints/1", None, 404),
]


@pytest.mark.parametrize(("method", "path", "model", "status"), BAD)
async def test_bad_input_is_refused_with_a_sentence_and_changes_nothing(
    server: Server, method: str, path: str, model: Any, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    await put(server, "there", text("x"))
    await put(server, "also", text("y"))
    before = server.services.store.offset
    kwargs = {} if model is None else {"json": model}
    answer = await server.fetch(method, f"api/contents/{path}", **kwargs)
    assert answer.status == status
    assert len(answer.json()["message"]) > 10
    assert server.services.store.offset == before
    assert "Traceback" not in caplog.text


async def test_bodies_that_are_not_json_are_refused(server: Server) -> None:
    for raw in (b"{", b'{"type": "file", "content": "x', b"\xff\xfe", b"[" * 100_000):
        answer = await server.fetch("PUT", "api/contents/f", data=raw)
        assert answer.status == 400
        assert "JSON" in answer.json()["message"]


async def test_a_save_can_be_made_conditional(server: Server) -> None:
    await put(server, "f", text("one"))
    etag = (await server.fetch("GET", "api/contents/f")).headers["ETag"]
    assert (await put(server, "f", text("two"), headers={"If-Match": etag})).status == 200
    late = await put(server, "f", text("three"), headers={"If-Match": etag})
    assert late.status == 412
    assert (await server.fetch("GET", "api/contents/f")).json()["content"] == "two"
    assert (await put(server, "f", text("four"))).status == 200  # without it, the last one wins
    versions = (await server.fetch("GET", "api/history/versions/f")).json()["versions"]
    assert [version["event"] for version in versions] == [
        "FileSaved",
        "FileSaved",
        "FileSaved",
        "EntryCreated",
    ]
    assert (await put(server, "g", text("x"), headers={"If-Match": "*"})).status == 412
    assert (await put(server, "f", text("x"), headers={"If-None-Match": "*"})).status == 412
    fresh = (await server.fetch("GET", "api/contents/f")).headers["ETag"]
    assert (await server.fetch("GET", "api/contents/f", headers={"If-None-Match": fresh})).status == 304


async def test_names_that_the_server_picks(server: Server) -> None:
    async def post(model: Any = None) -> str:
        answer = await server.fetch("POST", "api/contents/", json=model or {})
        assert answer.status == 201
        return answer.json()["name"]

    notebook, directory = {"type": "notebook"}, {"type": "directory"}
    assert [await post(notebook), await post(notebook)] == ["Untitled.ipynb", "Untitled1.ipynb"]
    assert [await post(directory), await post(directory)] == ["Untitled Folder", "Untitled Folder 1"]
    assert [await post({"ext": ".tar.gz"}), await post({"ext": ".tar.gz"})] == [
        "untitled.tar.gz",
        "untitled1.tar.gz",
    ]
    copies = [await post({"copy_from": "Untitled.ipynb"}), await post({"copy_from": "Untitled-Copy1.ipynb"})]
    assert copies == ["Untitled-Copy1.ipynb", "Untitled-Copy2.ipynb"]


async def test_a_directory_can_be_copied_into_one_that_is_not_there_and_a_file_can_not(
    server: Server,
) -> None:
    assert (await put(server, "d", {"type": "directory"})).status == 201
    assert (await put(server, "d/f", text("x"))).status == 201

    async def copy(source: str, into: str) -> tuple[int, str | None]:
        reply = await server.fetch("POST", f"api/contents/{into}", json={"copy_from": source})
        return reply.status, reply.json().get("path")

    assert await copy("d", "new") == (201, "new/d")
    assert await copy("d/f", "newer") == (404, None)
    assert await copy("d", "d/below") == (400, None)
    assert (await server.fetch("GET", "api/contents/d/below")).status == 404
    assert (await server.fetch("GET", "api/contents/new/d/f")).json()["content"] == "x"


async def test_what_is_hidden_is_served_nowhere(server: Server) -> None:
    """Such entries can be in a log, from elsewhere; no address shows them (CVE-2022-29238, S25)."""
    contents, author = server.services.contents, Author.new("elsewhere")
    await contents.create_directory(ContentPath(".d"), author)
    for path in (".f", ".d/f"):
        body = bodies.prepare(b"secret", server.services.store.known, notebook=False)
        await contents.save(ContentPath(path), SaveRequest(body=body), author)
    for path in (".f", ".d/f", ".d"):
        for address in ("api/contents/", "files/", "api/history/versions/"):
            assert (await server.fetch("GET", address + path)).status == 404, address + path
        assert (await server.fetch("GET", f"api/contents/{path}/checkpoints")).status == 404
    assert (await server.fetch("GET", "api/contents")).json()["content"] == []


async def test_where_no_file_is_there_are_no_checkpoints(server: Server) -> None:
    """As jupyter_server says it: JupyterLab asks for the old name's while it renames."""
    reply = await server.fetch("GET", "api/contents/gone/Untitled.ipynb/checkpoints")
    assert (reply.status, reply.json()) == (200, [])


async def test_put_without_content_makes_something_empty_and_never_empties(server: Server) -> None:
    assert (await server.fetch("PUT", "api/contents/n.ipynb")).json()["type"] == "notebook"
    assert (await server.fetch("GET", "api/contents/n.ipynb")).json()["content"]["cells"] == []
    assert (await server.fetch("PUT", "api/contents/e.txt", json={"type": "file"})).status == 201
    assert (await put(server, "e.txt", text("full"))).status == 200
    assert (await server.fetch("PUT", "api/contents/e.txt", json={"type": "file"})).status == 400
    assert (await server.fetch("PUT", "api/contents/e.txt")).status == 400
    assert (await server.fetch("GET", "api/contents/e.txt")).json()["content"] == "full"
    copied = await server.fetch("PUT", "api/contents/c.txt", json={"copy_from": "e.txt"})
    assert (copied.status, copied.json()["path"]) == (201, "c.txt")
    assert (await server.fetch("PUT", "api/contents/d", json={"type": "directory"})).status == 201
    assert (await server.fetch("PUT", "api/contents/d")).json()["path"] == "d/untitled"


async def test_a_large_file_arrives_in_chunks_and_is_one_event(server: Server) -> None:
    parts = [b"a" * 1000, b"b" * 1000, b"c" * 10]

    async def send(path: str, part: bytes, number: int) -> Any:
        content = base64.b64encode(part).decode()
        return await put(
            server, path, {"type": "file", "format": "base64", "content": content, "chunk": number}
        )

    for number, part in ((1, parts[0]), (2, parts[1]), (-1, parts[2])):
        assert (await send("big", part, number)).status == 201
    assert (await server.fetch("GET", "files/big")).body == b"".join(parts)
    assert [
        v["event"] for v in (await server.fetch("GET", "api/history/versions/big")).json()["versions"]
    ] == [
        "FileSaved",
        "EntryCreated",
    ]
    assert (await send("holes", parts[0], 1)).status == 201
    assert (await send("holes", parts[1], 3)).status == 400
    assert (await send("holes", parts[1], -1)).status == 400
    assert (await server.fetch("GET", "api/contents/holes")).status == 404


async def test_invalid_notebooks_are_saved_and_come_with_a_message(server: Server) -> None:
    broken = NOTEBOOK | {"cells": [NOTEBOOK["cells"][0] | {"execution_count": "one"}]}
    saved = await put(server, "n.ipynb", {"type": "notebook", "format": "json", "content": broken})
    assert saved.status == 201
    assert "validation failed" in saved.json()["message"]
    assert "validation failed" in (await server.fetch("GET", "api/contents/n.ipynb")).json()["message"]


async def test_trust(server: Server) -> None:
    output = {"output_type": "display_data", "data": {"text/html": "<script>"}, "metadata": {}}
    cell = NOTEBOOK["cells"][0] | {"outputs": [output]}
    await put(
        server, "n.ipynb", {"type": "notebook", "format": "json", "content": NOTEBOOK | {"cells": [cell]}}
    )

    async def trusted() -> Any:
        got = await server.fetch("GET", "api/contents/n.ipynb")
        return got.json()["content"]["cells"][0]["metadata"]["trusted"]

    assert await trusted() is False
    before = (await server.fetch("GET", "api/contents/n.ipynb")).headers["ETag"]
    assert (await server.fetch("POST", "api/contents/n.ipynb/trust")).status == 201
    assert await trusted() is True
    again = await server.fetch("GET", "api/contents/n.ipynb", headers={"If-None-Match": before})
    assert again.status == 200
    kept = {"If-Match": again.headers["ETag"]}
    assert (
        await put(server, "n.ipynb", {"type": "notebook", "content": NOTEBOOK}, headers=kept)
    ).status == 200


async def test_checkpoints(server: Server) -> None:
    await put(server, "f", text("one"))
    made = await server.fetch("POST", "api/contents/f/checkpoints")
    assert made.status == 201
    assert set(made.json()) == {"id", "last_modified"}
    assert made.headers["Location"] == f"/api/contents/f/checkpoints/{made.json()['id']}"
    await put(server, "f", text("two"))
    assert (await server.fetch("GET", "api/contents/f/checkpoints")).json() == [made.json()]
    assert (await server.fetch("POST", f"api/contents/f/checkpoints/{made.json()['id']}")).status == 204
    assert (await server.fetch("GET", "api/contents/f")).json()["content"] == "one"
    assert (await server.fetch("DELETE", f"api/contents/f/checkpoints/{made.json()['id']}")).status == 204
    assert (await server.fetch("GET", "api/contents/f/checkpoints")).json() == []


async def test_a_directory_called_checkpoints_can_be_opened(server: Server) -> None:
    await server.fetch("PUT", "api/contents/checkpoints", json={"type": "directory"})
    assert (await server.fetch("GET", "api/contents/checkpoints")).json()["type"] == "directory"


async def test_hash_and_date_stay_through_rename_checkpoint_and_trust(server: Server) -> None:
    """Invariant 10."""
    await put(server, "n.ipynb", {"type": "notebook", "format": "json", "content": NOTEBOOK})
    before = (await server.fetch("GET", "api/contents/n.ipynb?content=0&hash=1")).json()
    await server.fetch("POST", "api/contents/n.ipynb/checkpoints")
    await server.fetch("POST", "api/contents/n.ipynb/trust")
    await server.fetch("PATCH", "api/contents/n.ipynb", json={"path": "m.ipynb"})
    after = (await server.fetch("GET", "api/contents/m.ipynb?content=0&hash=1")).json()
    assert (after["hash"], after["last_modified"]) == (before["hash"], before["last_modified"])


async def test_files_serve_ranges_in_a_sandbox(server: Server) -> None:
    body = bytes(range(256)) * 1000
    await put(
        server, "b.bin", {"type": "file", "format": "base64", "content": base64.b64encode(body).decode()}
    )
    whole = await server.fetch("GET", "files/b.bin")
    assert whole.body == body
    assert whole.headers["Content-Security-Policy"].endswith("; sandbox allow-scripts")
    part = await server.fetch("GET", "files/b.bin", headers={"Range": "bytes=1000-1999"})
    assert (part.status, part.body, part.headers["Content-Range"]) == (
        206,
        body[1000:2000],
        "bytes 1000-1999/256000",
    )
    tail = await server.fetch("GET", "files/b.bin", headers={"Range": "bytes=-10"})
    assert tail.body == body[-10:]
    assert (await server.fetch("GET", "files/b.bin", headers={"Range": "bytes=999999-"})).status == 416
    head = await server.fetch("HEAD", "files/b.bin")
    assert (head.headers["Content-Length"], head.body) == ("256000", b"")
    download = await server.fetch("GET", "files/b.bin?download=1")
    assert download.headers["Content-Disposition"].startswith("attachment")


async def test_numbers_that_javascript_and_python_send_are_kept(server: Server) -> None:
    """A fast JSON parser would round integers past 64 bits, and refuse NaN."""
    raw = b'{"type": "notebook", "content": {"cells": [], "metadata": {"big": 1180591620717411303424, "x": NaN}, "nbformat": 4, "nbformat_minor": 5}}'
    assert (await server.fetch("PUT", "api/contents/n.ipynb", data=raw)).status == 201
    assert (
        b'"big": 1180591620717411303424,\n  "x": NaN\n' in (await server.fetch("GET", "files/n.ipynb")).body
    )


async def test_a_small_request_that_is_large_is_refused(server: Server) -> None:
    answer = await server.fetch(
        "POST", "api/contents/", data=b'{"type": "file", "x": "' + b"x" * 5_000_000 + b'"}'
    )
    assert answer.status == 413


async def test_a_new_notebook_has_a_checkpoint_from_the_start(server: Server):
    """Front ends ask for one at once, and Notebook 7 polls the list and takes its last (sharp edge 17)."""
    new = await server.fetch("POST", "/api/contents", json={"type": "notebook"})
    path = f"/api/contents/{new.json()['path']}/checkpoints"
    (checkpoint,) = (await server.fetch("GET", path)).json()
    assert (await server.fetch("POST", f"{path}/{checkpoint['id']}")).status == 204
    log = (await server.fetch("GET", "/api/history/log")).json()["events"]
    assert [event["event"] for event in log[:3]] == ["EntryCreated", "FileSaved", "CheckpointCreated"]
    assert len({event["command"] for event in log[:3]}) == 1
