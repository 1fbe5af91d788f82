"""A real Jupyter Kernel Gateway in a process of its own, for tests of remote kernels."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import aiohttp
import psutil
from aiohttp import web

from evstore.config import GatewayConfig
from tests.helpers import Server
from tests.kernel_client import V1

TOKEN = "gateway-secret"
PATIENCE = 60  # seconds until it must answer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RealGateway:
    """`jupyter kernelgateway` on a port that stays the same when it is started again."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def config(self, **changes: object) -> GatewayConfig:
        """evstore's settings for it."""
        return GatewayConfig(**({"url": self.url, "token": TOKEN} | changes))  # type: ignore[arg-type]

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # Its own limits on output are off: what it dropped could not be told from what we lose
        limits = [f"--ZMQChannelsWebsocketConnection.iopub_{what}_rate_limit=0" for what in ("msg", "data")]
        command = [
            "-m",
            "kernel_gateway",
            f"--KernelGatewayApp.port={self.port}",
            "--KernelGatewayApp.port_retries=0",
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("EVSTORE_")}
        environment |= {"KG_AUTH_TOKEN": TOKEN, "JUPYTER_RUNTIME_DIR": str(self.folder / "runtime")}
        with (self.folder / "gateway.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command, *limits, *self._options],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def stop(self) -> None:
        """Ask it to leave; its kernels go with it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE)
        self._process = None

    def kill(self) -> None:
        """End it and its kernels at once, as a machine that loses its power."""
        assert self._process is not None
        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        for child in children:
            child.kill()
        self._process.wait(PATIENCE)
        self._process = None

    def freeze(self, *, frozen: bool) -> None:
        """Stop it in its tracks, or let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    @property
    def kernels(self) -> list[psutil.Process]:
        """The processes of its kernels."""
        assert self._process is not None
        return psutil.Process(self._process.pid).children()

    async def delete(self, kernel_id: str) -> None:
        """Shut a kernel down behind evstore's back."""
        headers = {"Authorization": f"token {TOKEN}"}
        url = f"{self.url}/api/kernels/{kernel_id}"
        async with aiohttp.ClientSession(headers=headers) as session, session.delete(url) as reply:
            assert reply.status == 204

    @property
    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    def _answers(self) -> bool:
        try:
            with urlopen(Request(f"{self.url}/api", headers={"Authorization": f"token {TOKEN}"}), timeout=5):
                return True
        except HTTPError:
            return True
        except (URLError, OSError):
            return False


class Cable:
    """The network between evstore and a gateway, with which something can be wrong."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.loses_answers = False  # what comes from the gateway does not arrive
        self.is_open = True  # connections can be made
        self.port = 0

    async def __aenter__(self) -> Cable:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many go through it."""
        return sum(not writer.is_closing() for writer in self._writers) // 2

    def cut(self) -> None:
        """Break all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if not self.is_open:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers.add(far_writer)
        await asyncio.gather(
            self._pass_on(reader, far_writer, is_answer=False),
            self._pass_on(far_reader, writer, is_answer=True),
        )

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if not (is_answer and self.loses_answers):
                    writer.write(data)
                    await writer.drain()
        writer.close()


class Relay:
    """A proxy in front of a gateway, which loses what it is told to of what kernels say."""

    def __init__(self, port: int) -> None:
        self._to = f"127.0.0.1:{port}"
        self._open: dict[web.WebSocketResponse, asyncio.Transport | None] = {}
        self._runner = web.AppRunner(web.Application(), shutdown_timeout=0.1)
        self._runner.app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._session: aiohttp.ClientSession | None = None
        self.loses: Callable[[bytes], bool] = lambda _message: False
        self.lost: list[bytes] = []
        self.connected = 0  # websockets so far
        self.port = free_port()

    async def __aenter__(self) -> Relay:
        self._session = aiohttp.ClientSession()
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        self.cut()
        await self._session.close()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Break all websockets."""
        for transport in self._open.values():
            if transport is not None:
                transport.abort()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        assert self._session is not None
        headers = {"Authorization": request.headers["Authorization"]}
        if request.headers.get("Upgrade") == "websocket":
            url = f"ws://{self._to}{request.raw_path}"
            async with self._session.ws_connect(url, protocols=[V1], headers=headers, max_msg_size=0) as far:
                return await self._join(request, far)
        url, body = f"http://{self._to}{request.raw_path}", await request.read()
        async with self._session.request(request.method, url, data=body, headers=headers) as reply:
            return web.Response(status=reply.status, body=await reply.read(), content_type=reply.content_type)

    async def _join(
        self, request: web.Request, far: aiohttp.ClientWebSocketResponse
    ) -> web.WebSocketResponse:
        near = web.WebSocketResponse(protocols=[V1], max_msg_size=0)
        await near.prepare(request)
        self._open[near] = request.transport
        self.connected += 1
        back = asyncio.create_task(self._bring_back(near, far))
        async for frame in near:
            await far.send_bytes(frame.data)
        del self._open[near]
        back.cancel()
        return near

    async def _bring_back(self, near: web.WebSocketResponse, far: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in far:
            if self.loses(frame.data):
                self.lost.append(frame.data)
            else:
                with suppress(ConnectionError):
                    await near.send_bytes(frame.data)


async def refused(server: Server, method: str, path: str, **options: Any) -> tuple[int, str]:
    """The status of an error, and its sentence, which must not hold the token."""
    reply = await server.fetch(method, path, **options)
    assert TOKEN not in reply.text
    assert "Traceback" not in reply.text
    return reply.status, reply.json()["message"]
