"""One session's end at a kernel: its channels, what it has not received yet, and its websocket.

A client outlives its websocket: a page that loses the network, or reloads after the kernel was
restarted, comes back with the same session id and goes on where it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from evstore.core.units import MIB
from evstore.processes.kernels.delivery import Delivery, Link
from evstore.processes.kernels.endpoint import Channels, Endpoint
from evstore.processes.kernels.executions import Executions
from evstore.processes.kernels.messages import BadMessage, json_object
from evstore.processes.kernels.outbox import Outbox
from evstore.processes.kernels.wire import Message, to_v1
from evstore.processes.ws_close_codes import TRY_AGAIN_LATER

logger = logging.getLogger(__name__)

HELD = 128 * MIB  # bytes that a client may send while the kernel does not listen
RETRY = 0.05  # seconds until a full queue to the kernel is tried again


class Page:
    """Whoever uses a client: what its executions know of the one that asked for them."""

    def __init__(self) -> None:
        self.is_connected = False
        self.left_at = 0.0  # the loop's time when its link was lost
        self.has_left = False  # it has closed the link itself, as pages do when they are closed


class Client(Delivery[Link]):
    """A session at a kernel, connected or away."""

    def __init__(self, session: str, outbox: Outbox, executions: Executions) -> None:
        super().__init__(outbox)
        self.session = session
        self._executions = executions  # the kernel's, whoever asked for them
        self.page = Page()
        self._channels: Channels | None = None
        self._listening = False  # the kernel is up: what the client sends goes through
        self._held: deque[Message] = deque()
        self._held_size = 0

    # the kernel's side

    def attach(self, endpoint: Endpoint) -> None:
        """The kernel has been started: connect."""
        self._channels = endpoint.open(self._reply, self.flush)

    def listen(self) -> None:
        """The kernel is ready: give it what was held back."""
        self._listening = True
        self._send_held()

    def detach(self) -> None:
        """The kernel has stopped. What it was not given yet was meant for it, not for its successor."""
        if self._channels is not None:
            self._channels.drain()
            self._channels.close()
        self._channels = None
        self._held.clear()
        self._held_size = 0
        self._listening = False

    def _reply(self, channel: str, parts: list[bytes]) -> None:
        try:
            header = json_object(parts[0])
        except BadMessage as error:
            logger.warning("%s came from a kernel on %s and is ignored", error, channel)
            return
        if header.get("msg_type") == "execute_reply":
            self._executions.replied(parts)
        self.put(to_v1(channel, parts))

    # the websocket's side

    def connect(self, link: Link) -> Link | None:
        replaced = super().connect(link)
        self.page.is_connected, self.page.has_left = True, False
        return replaced

    def pass_to(self, session: str) -> None:
        """Another session takes over what this one has not received, and what was not sent yet for it.

        The channels stay open: what is on its way to the kernel gets there.
        """
        self.session, self.page = session, Page()

    def disconnect(self, link: Link | None) -> Link | None:
        lost = super().disconnect(link)
        if lost is not None:
            self.page.left_at, self.page.is_connected = asyncio.get_running_loop().time(), False
        return lost

    def receive(self, message: Message) -> None:
        """A checked message from the client: pass it on, or hold it until the kernel listens."""
        self._executions.asked(self.page, message.parts)
        if self._listening and not self._held and self._send(message):
            return
        size = sum(map(len, message.parts))
        if self._held_size + size > HELD and self.link is not None:
            logger.warning(
                "A client sends more than its kernel takes: %d bytes wait already", self._held_size
            )
            self.link.close(TRY_AGAIN_LATER, "The kernel does not take messages fast enough.")
            return
        self._held.append(message)
        self._held_size += size
        if self._listening and len(self._held) == 1:
            self._retry()

    async def part(self, code: int, reason: str) -> None:
        """Bring the last messages to the client, close its websocket and end the session."""
        await self.finish(code, reason)
        self.close()

    def close(self) -> None:
        """The end of this session at this kernel."""
        self.disconnect(self.link)
        self.detach()
        self.outbox.close()

    def _send(self, message: Message) -> bool:
        return self._channels is not None and self._channels.send(message)

    def _send_held(self) -> None:
        while self._held and self._listening:
            if not self._send(self._held[0]):
                self._retry()
                return
            self._held_size -= sum(map(len, self._held.popleft().parts))

    def _retry(self) -> None:
        asyncio.get_running_loop().call_later(RETRY, self._send_held)
