"""A contents manager whose files are in a live evstore.

Some of jupyter_server's contents and checkpoint tests make a FileContentsManager and call its
methods. `install` puts this class in the place of those classes, before the tests import them: a call
becomes the request that a client sends for the same end, and an error status jupyter_server's error.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

import nbformat
from jupyter_server.services.contents import filemanager, largefilemanager
from tornado.httpclient import HTTPClientError, HTTPResponse
from tornado.web import HTTPError

from tests.jupyter_server.live import LiveServer

Model = dict[str, Any]
NAMES = {
    filemanager: ("FileContentsManager", "AsyncFileContentsManager"),
    largefilemanager: ("LargeFileManager", "AsyncLargeFileManager"),
}


def install(start: Callable[[Path], LiveServer]) -> None:
    """Let jupyter_server's contents managers be RemoteContents on servers that `start` starts."""
    RemoteContents.start = staticmethod(start)
    for module, names in NAMES.items():
        for name in names:
            setattr(module, name, RemoteContents)


class RemoteContents:
    """The methods of jupyter_server's ContentsManager that its tests call, as requests."""

    start: ClassVar[Callable[[Path], LiveServer]]
    hash_algorithm = "sha256"

    __slots__ = ("_server", "root_dir")  # a test that sets an option of jupyter_server's does not apply

    def __init__(self, root_dir: str, **_: Any) -> None:  # checkpoints_class and the like are for others
        self.root_dir = root_dir
        self._server = self.start(Path(root_dir))

    def _get_os_path(self, path: str) -> str:
        return os.path.join(self.root_dir, path.strip("/"))

    # -- reading ---------------------------------------------------------------------

    async def get(
        self,
        path: str,
        content: bool = True,
        type: str | None = None,
        format: str | None = None,
        require_hash: bool = False,
    ) -> Model:
        asked = {"content": int(content), "type": type, "format": format, "hash": int(require_hash)}
        return await self._model(
            "GET", path, {key: value for key, value in asked.items() if value is not None}
        )

    async def dir_exists(self, path: str) -> bool:
        try:
            return (await self.get(path, content=False))["type"] == "directory"
        except HTTPError as error:
            if error.status_code != 404:
                raise
            return False

    # -- writing ---------------------------------------------------------------------

    async def save(self, model: Model, path: str = "") -> Model:
        return await self._model("PUT", path, body=model)

    async def new(self, model: Model | None = None, path: str = "") -> Model:
        kind = "notebook" if path.endswith(".ipynb") else "file"
        return await self._model("PUT", path, body={"type": kind} | (model or {}))

    async def new_untitled(self, path: str = "", type: str = "", ext: str = "") -> Model:
        return await self._model("POST", path, body={"type": type, "ext": ext})

    async def update(self, model: Model, path: str) -> Model:
        return await self._model("PATCH", path, body=model)

    async def rename(self, old_path: str, new_path: str) -> None:
        await self._ask("PATCH", old_path, body={"path": new_path})

    rename_file = rename

    async def delete(self, path: str) -> None:
        await self._ask("DELETE", path)

    delete_file = delete

    async def copy(self, from_path: str, to_path: str | None = None) -> Model:
        """To a name that the server picks, or, of a file, to one that is given."""
        directory = from_path.rpartition("/")[0] if to_path is None else to_path
        picks = await self.dir_exists(directory) or await self.dir_exists(from_path)
        return await self._model("POST" if picks else "PUT", directory, body={"copy_from": from_path})

    # -- checkpoints -----------------------------------------------------------------

    async def create_checkpoint(self, path: str) -> Model:
        return json.loads((await self._ask("POST", f"{path}/checkpoints")).body)

    async def list_checkpoints(self, path: str) -> list[Model]:
        return json.loads((await self._ask("GET", f"{path}/checkpoints")).body)

    async def restore_checkpoint(self, checkpoint: str, path: str) -> None:
        await self._ask("POST", f"{path}/checkpoints/{checkpoint}")

    async def delete_checkpoint(self, checkpoint: str, path: str) -> None:
        await self._ask("DELETE", f"{path}/checkpoints/{checkpoint}")

    # -- requests --------------------------------------------------------------------

    async def _model(self, method: str, path: str, query: Model | None = None, body: Any = None) -> Model:
        model = json.loads((await self._ask(method, path, query, body)).body)
        if model["type"] == "notebook" and model["content"] is not None:
            model["content"] = nbformat.from_dict(model["content"])
        return model

    async def _ask(
        self, method: str, path: str, query: Model | None = None, body: Any = None
    ) -> HTTPResponse:
        try:
            return await self._server.fetch(
                f"{self._server.base_url}api/contents/{_escaped(path.lstrip('/'))}?{urlencode(query or {})}",
                method=method,
                body=None if body is None else json.dumps(body),
                headers=self._server.auth_header,
                allow_nonstandard_methods=True,
            )
        except HTTPClientError as error:
            if error.response is None:  # no answer in time: none of the errors that a test may expect
                raise
            raise HTTPError(error.code, json.loads(error.response.body)["message"]) from error


def _escaped(path: str) -> str:
    """`path` for a URL. Dots too when they are names, or the client would take them out."""
    return "/".join(quote(name) if name.strip(".") else name.replace(".", "%2E") for name in path.split("/"))
