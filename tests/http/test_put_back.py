"""A save of what the disk has deleted: who has it open saves that very file again, with all its history."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Server

DOCUMENT = "sub/deep/a.txt"


@pytest.fixture
def folder(server: Server) -> Path:
    return server.services.config.folder


@pytest.fixture
async def saved(server: Server, folder: Path) -> Server:
    """With a document that was saved twice and has a checkpoint, and another file beside it."""
    for path in ("sub", "sub/deep"):
        await server.fetch("PUT", f"api/contents/{path}", json={"type": "directory"})
    for text in ("one", "two"):
        await put(server, DOCUMENT, text)
    await put(server, "sub/deep/other.txt", "other")
    await server.fetch("POST", f"api/contents/{DOCUMENT}/checkpoints")
    return server


async def put(server: Server, path: str, text: str, **headers: str) -> int:
    model = {"type": "file", "format": "text", "content": text}
    return (await server.fetch("PUT", f"api/contents/{path}", json=model, headers=headers)).status


async def versions(server: Server, path: str = DOCUMENT) -> list[dict[str, Any]]:
    return (await server.fetch("GET", f"api/history/versions/{path}?limit=1000")).json()["versions"]


async def events(server: Server, path: str = DOCUMENT) -> list[str]:
    """What happened to a file, the newest first."""
    return [one["event"] for one in await versions(server, path)]


async def text(server: Server, path: str, at: int | None = None) -> str:
    reply = await server.fetch("GET", f"files/{path}" + ("" if at is None else f"?at={at}"))
    assert reply.status == 200
    return reply.text


BEFORE = ["CheckpointCreated", "FileSaved", "FileSaved", "EntryCreated"]
BACK = ["FileSaved", "EntryUndeleted"]


async def test_a_file(saved: Server, folder: Path) -> None:
    (folder / DOCUMENT).unlink()
    assert (await saved.fetch("GET", f"api/contents/{DOCUMENT}?content=0")).status == 404
    assert await put(saved, DOCUMENT, "three") == 201
    assert await events(saved) == [*BACK, "EntryDeleted", *BEFORE]
    assert (folder / DOCUMENT).read_text() == "three"
    assert len((await saved.fetch("GET", f"api/contents/{DOCUMENT}/checkpoints")).json()) == 1
    first = (await versions(saved))[-2]["offset"]
    assert await text(saved, DOCUMENT, first) == "one"
    assert await put(saved, DOCUMENT, "four") == 200


async def test_its_folder_has_gone_as_well(saved: Server, folder: Path) -> None:
    """It is made anew for the one file: what else was in it is still to be had from what was deleted."""
    shutil.rmtree(folder / "sub")
    assert await put(saved, DOCUMENT, "three") == 201
    assert await events(saved) == [*BACK, *BEFORE]
    assert os.listdir(folder / "sub" / "deep") == ["a.txt"]
    assert (folder / DOCUMENT).read_text() == "three"
    deleted = (await saved.fetch("GET", "api/history/deleted/")).json()["deleted"]
    assert {(one["path"], one["actor"]) for one in deleted} == {("sub", "disk")}


@pytest.mark.parametrize("settled", [True, False])
async def test_the_same_bytes_as_before(saved: Server, folder: Path, settled: bool) -> None:
    (folder / DOCUMENT).unlink()
    if settled:
        assert (await saved.fetch("GET", f"api/contents/{DOCUMENT}")).status == 404
    assert await put(saved, DOCUMENT, "two") == 201
    assert await events(saved) == ["EntryUndeleted", "EntryDeleted", *BEFORE]
    assert (folder / DOCUMENT).read_text() == "two"


async def test_what_a_client_has_deleted_is_another_file(saved: Server, folder: Path) -> None:
    await saved.fetch("DELETE", f"api/contents/{DOCUMENT}")
    assert await put(saved, DOCUMENT, "three") == 201
    assert await events(saved) == ["FileSaved", "EntryCreated"]
    await saved.fetch("DELETE", "api/contents/sub")
    assert await put(saved, DOCUMENT, "four") == 404


async def test_what_has_moved_away_before_is_another_file(saved: Server, folder: Path) -> None:
    await saved.fetch("PATCH", f"api/contents/{DOCUMENT}", json={"path": "b.txt"})
    (folder / "b.txt").unlink()
    assert (await saved.fetch("GET", "api/contents/b.txt")).status == 404
    assert await put(saved, DOCUMENT, "three") == 201
    assert await events(saved) == ["FileSaved", "EntryCreated"]
    assert await put(saved, "b.txt", "four") == 201
    assert (await events(saved, "b.txt"))[2:] == ["EntryDeleted", "EntryMoved", *BEFORE]


async def test_who_wants_a_new_file_gets_one(saved: Server, folder: Path) -> None:
    (folder / DOCUMENT).unlink()
    assert await put(saved, DOCUMENT, "three", **{"If-None-Match": "*"}) == 201
    assert await events(saved) == ["FileSaved", "EntryCreated"]


async def test_who_saves_on_what_he_has_read_is_told(saved: Server, folder: Path) -> None:
    tag = (await saved.fetch("GET", f"files/{DOCUMENT}")).headers["ETag"]
    (folder / DOCUMENT).unlink()
    assert await put(saved, DOCUMENT, "three", **{"If-Match": tag}) == 412
    assert not (folder / DOCUMENT).exists()


async def test_a_new_untitled_file_is_new(server: Server, folder: Path) -> None:
    name = (await server.fetch("POST", "api/contents", json={"type": "file", "ext": ".txt"})).json()["path"]
    (folder / name).unlink()
    assert (await server.fetch("GET", f"api/contents/{name}")).status == 404
    again = await server.fetch("POST", "api/contents", json={"type": "file", "ext": ".txt"})
    assert (again.status, again.json()["path"]) == (201, name)
    assert await events(server, name) == ["FileSaved", "EntryCreated"]


async def test_a_folder_is_there_where_the_file_was(saved: Server, folder: Path) -> None:
    (folder / DOCUMENT).unlink()
    (folder / DOCUMENT).mkdir()
    assert await put(saved, DOCUMENT, "three") == 400
    os.rmdir(folder / DOCUMENT)
    shutil.rmtree(folder / "sub" / "deep")
    (folder / "sub" / "deep").write_text("a file now")
    assert await put(saved, DOCUMENT, "three") in (400, 404)


async def test_an_old_client(server: Server, folder: Path) -> None:
    notebook = {"metadata": {}, "nbformat": 3, "nbformat_minor": 0, "worksheets": []}
    for status in (201, 201):
        reply = await server.fetch("PUT", "api/notebooks/n.ipynb", json={"content": notebook})
        assert reply.status == status
        (folder / "n.ipynb").unlink()
    assert (await events(server, "n.ipynb"))[-1] == "EntryCreated"
    assert "EntryUndeleted" in await events(server, "n.ipynb")


async def test_while_it_goes(saved: Server, folder: Path) -> None:
    """Saves and deletions at once: in the end there is one file, with one history, and what was saved last."""
    for turn in range(20):
        (folder / DOCUMENT).unlink(missing_ok=True)
        await asyncio.sleep(0.01 * (turn % 4))
        assert await put(saved, DOCUMENT, f"turn {turn}") in (200, 201)
    assert await text(saved, DOCUMENT) == "turn 19"
    assert (folder / DOCUMENT).read_text() == "turn 19"
    assert (await events(saved))[-4:] == BEFORE
