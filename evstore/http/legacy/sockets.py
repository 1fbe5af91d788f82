"""A kernel's websockets as IPython 0.12 to 2 had them: `/kernels/{id}/iopub`, `/shell` and `/stdin`.

The first frame was the page's cookie, by which the server knew the user, since IPython 1 with the session before it:
`session:cookie`. Here whoever connects is known already, from the request, so only the session counts; it may
also stand in the address (`?session_id=`). A websocket that names none stands alone: it hears all output, and gets
the answers to what it sends itself.
"""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime

from aiohttp import web

from evstore.http.kernel_websocket import attend, kernel_socket
from evstore.http.legacy.split_channels import GRACE, TRIOS, OldLink, SplitChannels
from evstore.http.services import services
from evstore.http.sockets import accept
from evstore.processes.kernels import protocol_v4, wire
from evstore.processes.kernels.kernel import Kernel
from evstore.processes.ws_close_codes import UNSUPPORTED


async def channel(request: web.Request) -> web.StreamResponse:
    """GET /kernels/{id}/{iopub|shell|stdin}, a websocket: until the client leaves, or the kernel ends."""
    kernel = services(request).kernels.get(request.match_info["kernel_id"])
    socket = kernel_socket()
    await accept(request, socket)
    link = OldLink(request, socket)
    talk = LegacyChannel(request.app[TRIOS], kernel, request.match_info["channel"], link)
    if session := request.query.get("session_id"):
        talk.join(session)
    timer = asyncio.get_running_loop().call_later(GRACE, talk.wait_no_longer)
    try:
        await attend(socket, link, talk.take, talk.leave)
    finally:
        timer.cancel()
    return socket


class LegacyChannel:
    """What is said on one of the websockets, and to which session it belongs."""

    def __init__(
        self, trios: dict[tuple[str, str], SplitChannels], kernel: Kernel, channel: str, link: OldLink
    ) -> None:
        self._trios = trios
        self._kernel = kernel
        self._channel = channel
        self._link = link
        self._trio: SplitChannels | None = None
        self._is_named = False  # the client itself has said its session

    def join(self, session: str, *, is_named: bool = True) -> SplitChannels:
        """Become one of the session's websockets."""
        self._is_named = is_named
        key = (self._kernel.id, session)
        trio = self._trios.get(key)
        if trio is None:
            trio = self._trios[key] = SplitChannels(self._kernel, session, lambda: self._forget(key))
        self._trio = trio
        trio.join(self._channel, self._link)
        return trio

    def leave(self) -> None:
        if self._trio is not None:
            self._trio.leave(self._channel, self._link)
            self._trio = None

    def wait_no_longer(self) -> None:
        """The client says nothing: it may only want to listen."""
        if self._trio is None:
            self.join(uuid.uuid4().hex, is_named=False)

    def take(self, data: str | bytes) -> None:
        """A frame from the client. Raises BadFrame."""
        if isinstance(data, bytes):
            raise wire.BadFrame("Old clients send text.", code=UNSUPPORTED)
        if not protocol_v4.is_message(data):
            self._introduce(data)
        elif self._channel != "iopub":  # there is nothing to say there
            self._pass_on(data)

    def _introduce(self, first: str) -> None:
        """The frame with the cookie. What names no session tells nothing new."""
        session = protocol_v4.session_of(first)
        if session is None and self._trio is None:
            self.join(uuid.uuid4().hex, is_named=False)
        elif session is not None and not self._is_named:
            self.leave()
            self.join(session)

    def _pass_on(self, text: str) -> None:
        now = datetime.now(UTC).isoformat()
        trio = self._trio
        fallback = uuid.uuid4().hex if trio is None else trio.session
        heard = protocol_v4.from_old(text, self._channel, session=fallback, at=now)
        wire.check(heard.message)
        if trio is None:
            trio = self.join(heard.session)
        trio.receive(heard.message, heard.version)

    def _forget(self, key: tuple[str, str]) -> None:
        self._trios.pop(key, None)
