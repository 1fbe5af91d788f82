"""A live evstore for a test: a real server on a port, in a thread of its own, over a folder.

jupyter_server's tests write files to its root folder and look for files there. evstore will
have a working folder (design.md, 8), and until then the Mirror stands in for it: before each
request what has changed on the disk goes into the log, through the same commands that a request
would run, and after it what has changed in the log goes to the disk.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import tornado.httpclient
from tornado.httpclient import HTTPResponse

from evstore.contents import Save
from evstore.events import Author, Digest
from evstore.http.services import Services
from evstore.log import bodies
from evstore.paths import ContentPath
from tests.helpers import TOKEN, Server, make_services, run_test_server

T = TypeVar("T")
Stamp = tuple[int, int]  # of a file: mtime in ns, size in bytes
STOP = 30.0  # seconds that a server may take to start or to stop


class LiveServer:
    """A running evstore. Nothing in here but the Mirror goes past its port."""

    def __init__(self, home: Path, folder: Path, base_url: str = "/", **config: Any) -> None:
        self.base_url = base_url
        self.folder = folder
        self.requests = 0  # that tests have sent
        self._home = home
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="evstore", daemon=True)
        self._thread.start()
        self._seen: dict[ContentPath, Seen] = {}
        self.start(**config)

    def start(self, **config: Any) -> None:
        """Start over the same log; `config` are further settings."""
        self._stack = AsyncExitStack()
        self._server = self._wait(self._start(config))

    def stop(self) -> None:
        """Stop serving; `start` may follow."""
        self._wait(self._stack.aclose())

    def close(self) -> None:
        """Stop for good."""
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def services(self) -> Services:
        return self._server.services

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def auth_header(self) -> dict[str, str]:
        return {"Authorization": f"token {TOKEN}"}

    def on_loop(self, work: Callable[[], T]) -> T:
        """Do `work` where the server does its own: in its thread, on its event loop."""

        async def run() -> T:
            return work()

        return self._wait(run())

    @property
    def events(self) -> Any:
        """jupyter_events' logger, for use on the loop."""
        return self._wait(self.services.announcer.events())

    async def fetch(self, path: str, **kwargs: Any) -> HTTPResponse:
        """Ask for `path`, which begins with a slash. Raises tornado's HTTPClientError, as jp_fetch does."""
        self.requests += 1
        mirror = Mirror(self.services, self.folder, self._seen)
        await self._elsewhere(mirror.take_in())
        client = tornado.httpclient.AsyncHTTPClient(force_instance=True)
        try:
            return await client.fetch(f"http://{self.address}{path}", **kwargs)
        finally:
            client.close()
            await self._elsewhere(mirror.write_out())

    async def _start(self, config: dict[str, Any]) -> Server:
        settings = {"folder": self.folder, "db": self._home / "log.db", "base_url": self.base_url} | config
        services = await self._stack.enter_async_context(make_services(self._home, **settings))
        return await self._stack.enter_async_context(run_test_server(services))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(STOP)

    async def _elsewhere(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


@dataclass(frozen=True, slots=True)
class Seen:
    """What the disk and the log both held after the last request; no digest: a directory."""

    digest: Digest | None = None
    stamp: Stamp = (0, 0)


class Mirror:
    """The folder and the log, made equal. Hidden names and links stay out, as in the working folder."""

    def __init__(self, services: Services, folder: Path, seen: dict[ContentPath, Seen]) -> None:
        self._services = services
        self._folder = folder
        self._seen = seen

    async def take_in(self) -> None:
        """Disk -> log."""
        found = _walk(self._folder)
        author = Author.new("disk")
        contents = self._services.contents
        for path in sorted(self._seen.keys() - found.keys(), key=len, reverse=True):
            await contents.delete(path, author)
            del self._seen[path]
        for path in (path for path, stamp in found.items() if stamp is None and path not in self._seen):
            await contents.create_directory(path, author)
            self._seen[path] = Seen()
        changed = {path: stamp for path, stamp in found.items() if stamp and self._stamp(path) != stamp}
        await asyncio.gather(*(self._save(path, stamp, author) for path, stamp in changed.items()))

    async def _save(self, path: ContentPath, stamp: Stamp, author: Author) -> None:
        data = (self._folder / path).read_bytes()
        is_notebook = path.name.endswith(".ipynb")
        body = bodies.prepare(data, self._services.store.known, notebook=is_notebook)
        await self._services.contents.save(path, Save(body=body, modified=stamp[0] // 1000), author)
        self._seen[path] = Seen(body.digest, stamp)

    def _stamp(self, path: ContentPath) -> Stamp | None:
        seen = self._seen.get(path)
        return seen.stamp if seen else None

    async def write_out(self) -> None:
        """Log -> disk."""
        kept: set[ContentPath] = set()
        await self._write_below(ContentPath(""), kept)
        for path in sorted(self._seen.keys() - kept, key=len, reverse=True):
            place = self._folder / path
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
            del self._seen[path]

    async def _write_below(self, directory: ContentPath, kept: set[ContentPath]) -> None:
        for entry in (await self._services.contents.list(directory)).members:
            kept.add(entry.path)
            place = self._folder / entry.path
            seen = self._seen.get(entry.path)
            if entry.is_directory:
                place.mkdir(exist_ok=True)
                self._seen[entry.path] = Seen()
                await self._write_below(entry.path, kept)
            elif seen is None or seen.digest != entry.digest:
                place.write_bytes(await self._services.store.body(entry.digest))
                self._seen[entry.path] = Seen(entry.digest, _stamp(place))


def _walk(folder: Path) -> dict[ContentPath, Stamp | None]:
    """What is in the folder, parents first: the stamps of files, and None for directories."""
    found: dict[ContentPath, Stamp | None] = {}
    for parent, directories, files in os.walk(folder):
        directories[:] = [name for name in directories if _is_taken(Path(parent, name))]
        for name in directories:
            found[_path(folder, Path(parent, name))] = None
        for place in (Path(parent, name) for name in files):
            if _is_taken(place):
                found[_path(folder, place)] = _stamp(place)
    return found


def _is_taken(place: Path) -> bool:
    return not place.name.startswith(".") and not place.is_symlink()


def _path(folder: Path, place: Path) -> ContentPath:
    return ContentPath(place.relative_to(folder).as_posix())


def _stamp(place: Path) -> Stamp:
    stat = place.stat()
    return stat.st_mtime_ns, stat.st_size
