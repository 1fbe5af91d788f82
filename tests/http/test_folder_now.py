"""Whoever asks for something gets what lies on the disk by now, also when no watcher has told of it yet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.helpers import Server, StartServer
from tests.notebooks import notebook

TEXT: dict[str, Any] = {"type": "file", "format": "text", "content": "new"}
CHUNK = TEXT | {"chunk": 1}


@pytest.fixture
async def server(start_server: StartServer) -> Server:
    """One that looks at its folder now and then, and is told of nothing in between."""
    return await start_server(poll=True)


@pytest.fixture
def deep(server: Server) -> Path:
    """A folder in a folder, made by somebody else just now, with a file and a notebook in it."""
    folder = server.services.config.folder / "å b" / "deep"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("old")
    (folder / "n.ipynb").write_text(json.dumps(notebook()))
    return folder


READ = [
    ("GET", "/api/contents/å b/deep/a.txt", 200),
    ("GET", "/api/contents/å b/deep", 200),
    ("GET", "/api/contents/å b/deep/n.ipynb/checkpoints", 200),
    ("GET", "/api/history/versions/å b/deep/a.txt", 200),
    ("GET", "/api/history/diff/å b/deep/a.txt?from=1", 200),
    ("GET", "/files/å b/deep/a.txt", 200),
    ("GET", "/view/å b/deep/a.txt", 200),
    ("GET", "/nbconvert/html/å b/deep/n.ipynb", 200),
    ("GET", "/tree/å b/deep", 200),
    ("GET", "/notebooks/å b/deep", 302),
    ("POST", "/api/contents/å b/deep/n.ipynb/trust", 201),
    ("POST", "/api/contents/å b/deep/n.ipynb/checkpoints", 201),
    ("DELETE", "/api/contents/å b/deep/a.txt", 204),
]
WRITTEN = [
    ("PUT", "/api/contents/å b/deep/new.txt", TEXT, 201),
    ("PUT", "/api/contents/å b/deep/a.txt", TEXT, 200),
    ("PUT", "/api/contents/å b/deep/new.txt", CHUNK, 201),
    ("PUT", "/api/contents/å b/deep/new", {"type": "directory"}, 201),
    ("PUT", "/api/contents/å b/deep/a.txt", {"type": "file"}, 400),  # it exists, and is not emptied
    ("PUT", "/api/contents/copy.txt", {"copy_from": "å b/deep/a.txt"}, 201),
    ("POST", "/api/contents/å b/deep", {"type": "notebook"}, 201),
    ("POST", "/api/contents/å b/deep", {"copy_from": "å b/deep/a.txt"}, 201),
    ("POST", "/api/contents/å b/deep/a.txt", {}, 400),  # no directory
    ("PATCH", "/api/contents/å b/deep/a.txt", {"path": "b.txt"}, 200),
    ("PATCH", "/api/contents/here.txt", {"path": "å b/deep/b.txt"}, 200),
]


@pytest.mark.parametrize(("method", "path", "status"), READ)
async def test_what_has_just_come_is_there(
    server: Server, deep: Path, method: str, path: str, status: int
) -> None:
    assert (await server.fetch(method, quote(path, safe="/?="))).status == status


@pytest.mark.parametrize(("method", "path", "body", "status"), WRITTEN)
async def test_what_has_just_come_can_be_changed(
    server: Server, deep: Path, method: str, path: str, body: Any, status: int
) -> None:
    (server.services.config.folder / "here.txt").write_text("here")
    reply = await server.fetch(method, quote(path), json=body)
    assert reply.status == status, reply.text
    assert (deep / "n.ipynb").exists()


async def test_a_place_that_was_asked_for_before_its_folder_was_there(server: Server) -> None:
    assert (await server.fetch("GET", "/api/contents/d/e/x.txt")).status == 404
    (server.services.config.folder / "d" / "e").mkdir(parents=True)
    assert (await server.fetch("PUT", "/api/contents/d/e/x.txt", json=TEXT)).status == 201
    assert (server.services.config.folder / "d/e/x.txt").read_text() == "new"


async def test_a_path_in_a_traceback_leads_to_a_file_that_has_just_come(server: Server, deep: Path) -> None:
    reply = await server.fetch("GET", f"/api/resolvePath?path={quote(str(deep))}/a.txt")
    assert reply.json() == {"resolved": [{"scope": "server", "path": "å b/deep/a.txt"}]}
