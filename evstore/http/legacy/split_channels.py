"""The websockets of one old client at one kernel, which the pump sees as one link.

A client of IPython 2 opens three: it sends on `shell`, hears output on `iopub`, and is asked for input on `stdin`.
They belong together when they name the same session; the kernel's answers go by channel. Each channel has a queue
of its own, for a script may wait for its answer before it reads what was printed on the way there.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import orjson
from aiohttp import web

from evstore.core.units import MIB
from evstore.http.kernel_websocket import SocketLink
from evstore.processes.kernels import messages, protocol_v4
from evstore.processes.kernels.client import Client
from evstore.processes.kernels.delivery import BATCH, Delivery
from evstore.processes.kernels.kernel import Kernel
from evstore.processes.kernels.limits import Limits
from evstore.processes.kernels.outbox import Outbox
from evstore.processes.kernels.pump import OUTPUT
from evstore.processes.kernels.wire import Message, from_v1, to_v1
from evstore.processes.ws_close_codes import FINAL, REPLACED

GRACE = 1.0  # seconds in which a client says its session, and opens the rest of its websockets
ROOM = MIB  # bytes that wait for a channel which the client has never opened, or has closed itself
DEAD = to_v1("iopub", [b'{"msg_type":"status"}', b"{}", b"{}", orjson.dumps({"execution_state": "dead"})])


class OldLink(SocketLink):
    """One of the three websockets: JSON texts in the protocol that the client speaks."""

    version = 4

    def encode(self, frame: bytes) -> str | bytes:
        return protocol_v4.to_old(frame, version=self.version)


class ChannelQueue(Delivery[OldLink]):
    """One channel: what waits for the client, in memory and on disk, and its websocket."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(Outbox(_gap_notice, limits))
        self._room = limits.memory + limits.disk  # bytes that wait for one that has lost its websocket
        self._is_wanted = False  # the client has opened it, and not closed it

    def connect(self, link: OldLink) -> OldLink | None:
        replaced = super().connect(link)
        self._is_wanted = True
        return replaced

    def disconnect(self, link: OldLink | None) -> OldLink | None:
        lost = super().disconnect(link)
        if lost is not None:
            self._is_wanted = not lost.has_left
        return lost

    def put(self, frame: bytes, *, is_output: bool = False) -> None:
        """A v1 frame, which waits for a client that is away only while there is room."""
        room = self._room if self._is_wanted else ROOM
        if self.link is not None or self.outbox.in_memory + self.outbox.on_disk < room:
            super().put(frame, is_output=is_output)


class SplitChannels:
    """Up to three websockets of one session, and its client at the kernel (a Link of evstore/processes/kernels/delivery.py)."""

    def __init__(self, kernel: Kernel, session: str, ended: Callable[[], None]) -> None:
        self.session = session
        self._kernel = kernel
        self._ended = ended  # called when the last websocket has gone
        self._lanes = {channel: ChannelQueue(kernel.limits) for channel in protocol_v4.CHANNELS}
        self._client: Client | None = None
        self._early: list[Message] = []  # what the client sends before it is connected
        self._timer: asyncio.TimerHandle | None = None
        self._version = OldLink.version
        self._finishing: list[asyncio.Task[None]] = []  # or they would be collected

    # the websockets' side

    def join(self, channel: str, link: OldLink) -> None:
        """A websocket has been opened. The kernel is connected when output can be heard, or nobody waits for it."""
        link.version = self._version
        if replaced := self._lanes[channel].connect(link):
            replaced.close(REPLACED, "Replaced by a newer connection of the same session.")
        if channel == "iopub":
            self._connect()
        elif self._client is None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GRACE, self._connect)

    def leave(self, channel: str, link: OldLink) -> None:
        """A websocket is gone, perhaps because a newer one has its place."""
        if not self._lanes[channel].disconnect(link) or self._links():
            return
        if self._timer is not None:
            self._timer.cancel()
        if self._client is not None:
            self._client.flush()
            # What was printed and not heard is the client's again: the pump keeps it for who comes next.
            iopub = self._lanes["iopub"]
            self._client.outbox, iopub.outbox = iopub.outbox, self._client.outbox
            self._kernel.disconnect(self._client, self, for_good=link.has_left)
        for lane in self._lanes.values():
            lane.outbox.close()
        self._ended()

    def receive(self, message: Message, version: int) -> None:
        """A message from the client, which shows what it speaks."""
        self._version = version
        for link in self._links():
            link.version = version
        if self._client is None:
            self._early.append(message)
        else:
            self._client.receive(message)

    def _links(self) -> list[OldLink]:
        return [lane.link for lane in self._lanes.values() if lane.link is not None]

    def _connect(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._client is not None or not self._links():
            return
        self._client = self._kernel.connect(self.session, self)
        for message in self._early:
            self._client.receive(message)
        self._early.clear()

    # the pump's side

    def write(self, frames: list[bytes]) -> bool:
        """Take v1 frames, each for its channel. There is always room: what a websocket does not take waits here."""
        for frame in frames:
            message = from_v1(frame)
            # Old clients know no control channel, and ask nothing there
            if (lane := self._lanes.get(message.channel)) is not None:
                kind = orjson.loads(message.parts[0]).get("msg_type")
                lane.put(frame, is_output=kind in OUTPUT)
        for lane in self._lanes.values():
            lane.flush()
        return True

    async def drain(self) -> None:
        """There is always room."""

    def undelivered(self) -> list[bytes]:
        """Answers and questions that may not have arrived, when all websockets are gone."""
        lanes = (self._lanes["shell"], self._lanes["stdin"])
        return [frame for lane in lanes for frame in _all(lane.outbox)]

    def close(self, code: int, reason: str) -> None:
        """Close all. A kernel that is gone for good is said to be dead, as clients of that time expect."""
        if code == FINAL:
            self.write([DEAD])
        self._finishing = [asyncio.create_task(lane.finish(code, reason)) for lane in self._lanes.values()]


def _all(outbox: Outbox) -> Iterator[bytes]:
    while frames := outbox.take(BATCH):
        yield from frames


def _gap_notice(lost: bytes, count: int) -> bytes:
    return messages.gap_notice(lost, count, msg_id=uuid.uuid4().hex, at=datetime.now(UTC))


TRIOS: web.AppKey[dict[tuple[str, str], SplitChannels]] = web.AppKey("trios")
