"""Terminals: list, start, look at, end; and the websocket of one, for one client.

Close codes: 1000 when the terminal is over, 1012 when the server stops, 1013 for a client that keeps
others waiting, 1007 for what is no frame of the protocol (`evstore/processes/terminals/wire.py`).
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import WSMsgType, web

from evstore.core.errors import Invalid
from evstore.core.units import MIB
from evstore.http.auth import caller
from evstore.http.kernels import text_field
from evstore.http.reply import json_object, json_reply, no_content
from evstore.http.services import SERVICES, services
from evstore.http.sockets import PING, accept
from evstore.processes.terminals import wire
from evstore.processes.terminals.terminal import Terminal
from evstore.processes.terminals.viewer import Viewer
from evstore.processes.ws_close_codes import FINAL, INVALID_DATA

MAX_FRAME = 16 * MIB  # bytes; somebody may paste a file
GATHER = 0.005  # seconds in which output is collected after a large piece of it
LARGE = 4096  # characters
CLOSING = 2.0  # seconds that a client has to say goodbye


def terminal_model(terminal: Terminal) -> dict[str, Any]:
    """Jupyter's terminal model."""
    return {
        "name": terminal.name,
        "last_activity": terminal.last_activity.isoformat().replace("+00:00", "Z"),
    }


async def list_all(request: web.Request) -> web.Response:
    """GET /api/terminals."""
    return json_reply([terminal_model(terminal) for terminal in services(request).terminals.all()])


async def start(request: web.Request) -> web.Response:
    """POST /api/terminals: `name` and `cwd` are optional. 200 also for a new one, as in jupyter_server."""
    data = await json_object(request)
    terminal = await services(request).terminals.start(
        text_field(data, "name"), cwd=text_field(data, "cwd") or "", url=_local_url(request)
    )
    return json_reply(terminal_model(terminal))


async def get(request: web.Request) -> web.Response:
    """GET /api/terminals/{name}."""
    return json_reply(terminal_model(_terminal(request)))


async def delete(request: web.Request) -> web.Response:
    """DELETE /api/terminals/{name}: returns when the shell, and what was started from it, has ended."""
    await services(request).terminals.end(request.match_info["name"])
    return no_content()


async def connect(request: web.Request) -> web.StreamResponse:
    """GET /terminals/websocket/{name}: until the client leaves, the terminal ends or the server stops."""
    terminal = _terminal(request)
    socket = web.WebSocketResponse(heartbeat=PING, compress=False, max_msg_size=MAX_FRAME, timeout=CLOSING)
    await accept(request, socket)
    owner = caller(request).actor
    viewer = terminal.connect(owner)
    sending = asyncio.create_task(_send(socket, terminal, viewer))
    receiving = asyncio.create_task(_receive(socket, terminal, viewer))
    viewer.over.add_done_callback(lambda _: sending.get_loop().call_later(CLOSING, sending.cancel))
    try:
        await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        sending.cancel()
        receiving.cancel()  # aiohttp hangs up at once when one task closes while another receives
        results = await asyncio.gather(sending, receiving, return_exceptions=True)
        terminal.disconnect(viewer, owner, has_left=results[1] is True)
        code, reason = viewer.over.result() if viewer.over.done() else (FINAL, "")
        await socket.close(code=code, message=reason.encode())
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, ConnectionError):
            raise result
    return socket


async def close(app: web.Application) -> None:
    """The server stops: end the terminals, and tell their pages."""
    await app[SERVICES].terminals.close()


async def _send(socket: web.WebSocketResponse, terminal: Terminal, viewer: Viewer) -> None:
    """Send what is printed, as fast as the client takes it, until it is over."""
    await socket.send_frame(wire.SETUP, WSMsgType.TEXT)
    while text := await viewer.take():
        await socket.send_frame(wire.stdout(text), WSMsgType.TEXT)
        if len(text) > LARGE:
            await asyncio.sleep(GATHER)
    if terminal.is_over:
        await socket.send_frame(wire.DISCONNECT, WSMsgType.TEXT)


async def _receive(socket: web.WebSocketResponse, terminal: Terminal, viewer: Viewer) -> bool:
    """Do what the client says, until it leaves: True; False if the connection has broken."""
    while True:
        message = await socket.receive()
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            return message.type is WSMsgType.CLOSE
        try:
            match wire.parse(message.data):
                case wire.Typed(text):
                    await terminal.type(text)
                case wire.Resized(rows, columns):
                    terminal.resize(viewer, rows, columns)
                case None:
                    pass
        except Invalid as error:
            viewer.end(INVALID_DATA, error.message)
            return True


def _terminal(request: web.Request) -> Terminal:
    return services(request).terminals.get(request.match_info["name"])


def _local_url(request: web.Request) -> str:
    """This server's address as programs on this machine reach it: by the port that the request came to."""
    if request.transport is None:
        raise ConnectionResetError("The client is gone")
    host, port = request.transport.get_extra_info("sockname")[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{services(request).config.base_url}"
