"""A real `evstore serve` in a process of its own, and what must be true of it when it has stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import psutil

EVSTORE = Path(sys.executable).with_name("evstore")
TOKEN = "browser-test"
MARK = "EVSTORE_TEST_MARK"  # in the environment of the server and so of all that it starts
ADDRESS = re.compile(r"(http://\S+/)(?:lab|tree)\?")
PATIENCE = 60  # seconds for the server to come up, and to go away


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: `url` is its base, with a slash at the end."""

    url: str
    folder: Path
    log: Path  # what it writes to stderr
    process: asyncio.subprocess.Process
    session: aiohttp.ClientSession
    expected: list[str] = field(default_factory=list[str])  # patterns of lines that a test makes it write

    def address(self, path: str = "", *, token: str = "") -> str:
        """The address of a page below the base URL."""
        return f"{self.url}{quote(path)}" + (f"?token={token}" if token else "")

    async def get(self, path: str) -> Any:
        """The JSON at `path` below the base URL, asked for beside the browser."""
        async with self.session.get(self.url + quote(path, safe="/?&=")) as reply:
            assert reply.status == 200, f"{reply.status} for {path}: {await reply.text()}"
            return await reply.json()

    async def read(self, path: str) -> bytes:
        """The bytes of a file."""
        async with self.session.get(f"{self.url}files/{quote(path)}") as reply:
            assert reply.status == 200, f"{reply.status} for {path}: {await reply.text()}"
            return await reply.read()

    async def read_at(self, path: str, offset: int) -> bytes:
        """The bytes that a file had."""
        async with self.session.get(f"{self.url}files/{quote(path)}?at={offset}") as reply:
            assert reply.status == 200, f"{reply.status} for {path}: {await reply.text()}"
            return await reply.read()

    async def put(self, path: str, text: str) -> None:
        """Make a text file."""
        model = {"type": "file", "format": "text", "content": text}
        async with self.session.put(f"{self.url}api/contents/{quote(path)}", json=model) as reply:
            assert reply.status in (200, 201), await reply.text()

    async def put_notebook(self, path: str, content: dict[str, Any]) -> None:
        """Make a notebook."""
        model = {"type": "notebook", "content": content}
        async with self.session.put(f"{self.url}api/contents/{quote(path)}", json=model) as reply:
            assert reply.status in (200, 201), await reply.text()

    async def names(self, path: str = "") -> set[str]:
        """What lies in a folder."""
        return {member["name"] for member in (await self.get(f"api/contents/{path}"))["content"]}

    async def cells(self, path: str) -> list[dict[str, Any]]:
        """The cells of a notebook, as saved."""
        return (await self.get(f"api/contents/{path}"))["content"]["cells"]

    def complaints(self) -> list[str]:
        """What the server has written to stderr, beyond what is expected: nothing, when all is well."""
        lines = self.log.read_text().splitlines()
        return [line for line in lines if not any(re.search(each, line) for each in self.expected)]


@asynccontextmanager
async def serve(folder: Path, home: Path, *flags: str) -> AsyncGenerator[Served]:
    """Serve `folder`; at the end, Ctrl-C. `home` is for the settings that Jupyter keeps outside of it.

    Fails when the server does not stop in peace, leaves a process behind, or has complained.
    """
    mark = uuid.uuid4().hex
    log = home / "stderr.txt"
    command = (EVSTORE, "serve", folder, "--port=0", "--no-browser", f"--token={TOKEN}", *flags)
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env=environment(folder, home, mark),
            start_new_session=True,  # a Ctrl-C in the terminal of the tests is not meant for it
        )
    try:
        async with aiohttp.ClientSession(headers={"Authorization": f"token {TOKEN}"}) as session:
            async with asyncio.timeout(PATIENCE):
                url = await base_url(process, log)
            served = Served(url, folder, log, process, session)
            yield served
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE):
            assert await process.wait() == 0
        assert left_behind(mark) == []
        assert served.complaints() == []
    finally:
        for pid in left_behind(mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await process.wait()


def environment(folder: Path, home: Path, mark: str) -> dict[str, str]:
    """The folder, and the environment of a server that sees nothing of the user's own Jupyter."""
    folder.mkdir(exist_ok=True)
    config = home / "config"
    (config / "labconfig").mkdir(parents=True)
    # Then scripts in the page can reach JupyterLab, as extensions do; the tests are one
    (config / "labconfig/page_config.json").write_text('{"exposeAppInBrowser": true}')
    own = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "EVSTORE"))}
    return own | {
        MARK: mark,
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(config),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
    }


async def base_url(process: asyncio.subprocess.Process, log: Path) -> str:
    """The address on the screen, without page and token."""
    assert process.stdout is not None
    async for line in process.stdout:
        if found := ADDRESS.search(line.decode()):
            return found[1]
    raise AssertionError(f"The server did not start: see {log}")


def left_behind(mark: str) -> list[int]:
    """The processes with this mark in their environment."""
    found: list[int] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it ended just now, or is somebody else's
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark:
                found.append(process.pid)
    return found
