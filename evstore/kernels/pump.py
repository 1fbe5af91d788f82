"""The pump between a kernel and its clients.

One subscription to the kernel's iopub, from its start to its end, feeds all clients. So nothing
is lost between a page's loading and its subscription, a message is parsed once however many
pages look on, and there is always somebody to keep what is printed while nobody is connected:

- A client that loses its websocket keeps collecting, for `AWAY` seconds while others are
  connected, without limit of time when it was the last.
- Whoever connects first after nobody was connected takes over what the last one has not had,
  whatever its session id, and so does the first client of a new kernel.

ZMQ publishers drop what a subscriber does not take (measured: a reader that stops for 2 s
loses most of what a kernel prints), so a slow client can't be allowed to slow the reading;
it slows only its own outbox, which goes to disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import zmq

from evstore.kernels import messages
from evstore.kernels.activity import Activity
from evstore.kernels.client import REPLACED, Client, Endpoint, Link
from evstore.kernels.messages import BadMessage, Signer
from evstore.kernels.outbox import Outbox
from evstore.kernels.sockets import Context, Socket
from evstore.kernels.wire import to_v1

logger = logging.getLogger(__name__)

OUTPUT = frozenset(("stream", "display_data", "update_display_data"))
NUDGE = 0.5  # seconds between questions to a kernel that starts
PATIENCE = 60  # seconds until a kernel that does not answer is taken to be up all the same
AWAY = 300  # seconds
MAX_AWAY = 8  # clients


class Pump:
    """Everything between one kernel's sockets and its clients' websockets."""

    def __init__(self, kernel_id: str, context: Context) -> None:
        self._kernel_id = kernel_id
        self._context = context
        self._clients: dict[str, Client] = {}
        self._heir = self._add_client("")  # who was connected last: nobody, so far
        self._signer = Signer(b"")
        self._endpoint: Endpoint | None = None
        self._sockets: list[Socket] = []
        self._nudges: list[Socket] = []
        self._heard = False
        self._answered = False
        self._ready = asyncio.Event()
        self._session = ""  # the kernel's own, which it makes anew at each start
        self._parent: tuple[bytes, str | None] = (b"", None)  # the last parent header and its type
        self._closing: set[asyncio.Task[None]] = set()
        self.activity = Activity(datetime.now(UTC))

    # the kernel's side

    def attach(self, endpoint: Endpoint) -> None:
        """A process has been started: connect to it. `warm_up` must follow."""
        self._endpoint = endpoint
        self._signer = Signer(endpoint.key)
        self._sockets = [Socket(self._context, zmq.SUB, endpoint.addresses["iopub"], self._published)]
        self._nudges = [
            Socket(self._context, zmq.DEALER, endpoint.addresses[channel], self._nudge_answered)
            for channel in ("shell", "control")
        ]
        for client in self._clients.values():
            client.attach(self._context, endpoint)

    async def warm_up(self) -> None:
        """Wait until the kernel answers and its output arrives; then let the clients' messages through.

        A subscription takes effect at some later moment, and what is published before is lost.
        So the kernel is asked for its info until it was heard on iopub (what jupyter_server
        calls nudging), and nothing is run before.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                while not self._ready.is_set():
                    self._nudge()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._ready.wait(), NUDGE)
        except TimeoutError:
            logger.warning("Kernel %s has not answered for %d s; going on without", self._kernel_id, PATIENCE)
        self._ready.set()
        for socket in self._nudges:
            socket.close()
        for client in self._clients.values():
            client.listen()
        self._tell_state(self._clients.values())

    @property
    def is_ready(self) -> bool:
        return self._ready.is_set()

    async def wait_ready(self) -> None:
        """Return when the kernel has come up."""
        await self._ready.wait()

    def detach(self) -> None:
        """The process has ended: take what it still said, and let go of its sockets."""
        for socket in (*self._sockets, *self._nudges):
            socket.drain()
            socket.close()
        for client in self._clients.values():
            client.detach()
        self._ready.clear()
        self._endpoint = None
        self._heard = self._answered = False

    def announce(self, state: str) -> None:
        """Tell all clients of a state that the kernel can't tell of itself: restarting or dead."""
        self.activity.state = state
        self._tell_state(self._clients.values())

    # the clients' side

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return sum(client.link is not None for client in self._clients.values())

    def connect(self, session: str, link: Link) -> Client:
        """A websocket of this session has been opened. Its client gets what it has missed first."""
        client = self._clients.get(session)
        if client is None:
            client = self._newcomer(session)
        if replaced := client.connect(link):
            self._close_later(replaced, REPLACED, "Replaced by a newer connection of the same session.")
        if self.is_ready:
            self._tell_state((client,))
        return client

    def disconnect(self, client: Client, link: Link) -> None:
        """The websocket of this client has been closed."""
        if client.disconnect(link) and self.connections == 0:
            self._heir = client

    def forget_the_lost(self) -> None:
        """Let go of clients that have been away too long, or are too many; of the heir never."""
        away = [client for client in self._clients.values() if client.link is None]
        if self.connections == 0:
            away.remove(self._heir)
        away.sort(key=lambda client: client.left_at, reverse=True)
        now = asyncio.get_running_loop().time()
        for place, client in enumerate(away):
            if place >= MAX_AWAY or now - client.left_at > AWAY:
                self._drop(client)

    async def close(self, code: int, reason: str) -> None:
        """Close everything, and the websockets with this code."""
        self.detach()
        await asyncio.gather(*(client.part(code, reason) for client in self._clients.values()))
        self._clients.clear()

    # inside

    def _newcomer(self, session: str) -> Client:
        client = self._add_client(session)
        if self.connections == 0:
            client.outbox, self._heir.outbox = self._heir.outbox, client.outbox
            self._drop(self._heir)
            self._heir = client
        if self._endpoint is not None:
            client.attach(self._context, self._endpoint)
        if self.is_ready:
            client.listen()
        return client

    def _add_client(self, session: str) -> Client:
        client = Client(session, Outbox(_gap_notice))
        self._clients[session] = client
        return client

    def _drop(self, client: Client) -> None:
        client.close()
        del self._clients[client.session]

    def _close_later(self, link: Link, code: int, reason: str) -> None:
        task = asyncio.create_task(link.close(code, reason))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _published(self, raw: list[bytes]) -> None:
        """A message came on iopub: note what it says about the kernel, and pass it to every client."""
        try:
            parts = self._signer.unwrap(raw)
            header = messages.header(parts[0])
            parent_type = self._parent_type(parts[1])
            msg_type = str(header.get("msg_type"))
            if msg_type == "status":
                state = messages.header(parts[3]).get("execution_state")
                self.activity.note_status(str(state), parent_type)
        except BadMessage as error:
            logger.warning("%s came from kernel %s on iopub and is ignored", error, self._kernel_id)
            return
        self._session = str(header.get("session", ""))
        self._heard = True
        self._check_ready()
        if msg_type == "iopub_welcome":  # it greets the subscriber, which is the pump (JEP 65)
            return
        self.activity.note(msg_type, parent_type, datetime.now(UTC))
        frame = to_v1("iopub", parts)
        is_output = msg_type in OUTPUT
        for client in self._clients.values():
            client.put(frame, is_output=is_output)

    def _parent_type(self, part: bytes) -> str | None:
        """The type of the request that a message belongs to: most often that of the message before."""
        if part != self._parent[0]:
            msg_type = messages.header(part).get("msg_type")
            self._parent = (part, msg_type if isinstance(msg_type, str) else None)
        return self._parent[1]

    def _nudge(self) -> None:
        for socket in self._nudges:
            socket.send(self._signer.wrap(_make("kernel_info_request", {}, session=self._kernel_id)))

    def _nudge_answered(self, _raw: list[bytes]) -> None:
        self._answered = True
        self._check_ready()

    def _check_ready(self) -> None:
        if self._heard and self._answered:
            self._ready.set()

    def _tell_state(self, clients: Iterable[Client]) -> None:
        """Say what the kernel is doing, in its name.

        JupyterLab asks for it with a kernel_info_request when it connects, and ignores the busy
        and idle that come with the answer (`untracked_message_types`): after a restart it would
        show no state until the next execution. The message carries the kernel's own session,
        for a new one would make JupyterLab throw away messages of the old one.
        """
        content = {"execution_state": self.activity.state}
        frame = to_v1("iopub", _make("status", content, session=self._session or self._kernel_id))
        for client in clients:
            client.put(frame)


def _make(msg_type: str, content: dict[str, Any], *, session: str) -> list[bytes]:
    return messages.make(msg_type, content, msg_id=uuid.uuid4().hex, session=session, at=datetime.now(UTC))


def _gap_notice(lost: bytes, count: int) -> bytes:
    return messages.gap_notice(lost, count, msg_id=uuid.uuid4().hex, at=datetime.now(UTC))
