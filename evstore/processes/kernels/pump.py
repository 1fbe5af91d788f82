"""The pump between a kernel and its clients.

One subscription to the kernel's iopub, from its start to its end, feeds all clients. So nothing
is lost between a page's loading and its subscription, a message is parsed once however many
pages look on, and there is always somebody to keep what is printed while nobody is connected:

- A client that loses its websocket keeps collecting, for `AWAY` seconds while others are
  connected, without limit of time when it was the last.
- Whoever connects first after nobody was connected takes over what the last one has not had,
  whatever its session id, and so does the first client of a new kernel. What the last one has
  asked for, and the kernel was not ready to hear, is asked all the same.

ZMQ publishers drop what a subscriber does not take (measured: of 20,000 lines one that does not
read gets 1,998), so a slow client can't be allowed to slow the reading: what it has not taken
waits in its own outbox, and on disk.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from evstore.processes.kernels import messages
from evstore.processes.kernels.activity import Activity
from evstore.processes.kernels.client import Client
from evstore.processes.kernels.delivery import Link
from evstore.processes.kernels.endpoint import Endpoint, Subscription
from evstore.processes.kernels.execution import Execution
from evstore.processes.kernels.executions import Executions
from evstore.processes.kernels.limits import Limits
from evstore.processes.kernels.messages import BadMessage
from evstore.processes.kernels.outbox import Outbox
from evstore.processes.kernels.readiness_probe import ReadinessProbe
from evstore.processes.kernels.wire import to_v1
from evstore.processes.ws_close_codes import REPLACED

logger = logging.getLogger(__name__)

OUTPUT = frozenset(("stream", "display_data", "update_display_data"))
PATIENCE = 60  # seconds until a kernel that does not answer is taken to be up all the same
AWAY = 300  # seconds
MAX_AWAY = 8  # clients


class Pump:
    """Everything between one kernel's endpoint and its clients' websockets."""

    def __init__(self, kernel_id: str, limits: Limits, untracked: frozenset[str]) -> None:
        self._kernel_id = kernel_id
        self.limits = limits
        self.executions = Executions(self.limits)
        self._clients: dict[str, Client] = {}
        self._heir = self._add_client("")  # who was connected last: nobody, so far
        self._endpoint: Endpoint | None = None
        self._iopub: Subscription | None = None
        self._warm_up: ReadinessProbe | None = None
        self._is_ready = False
        self._session = ""  # the kernel's own, which it makes anew at each start
        self._parent_part, self._parent = b"", dict[str, Any]()  # the last message's parent header
        self._execution: Execution | None = None  # that the last message belongs to
        self._parting: set[asyncio.Task[None]] = set()  # or they would be collected
        self.activity = Activity(datetime.now(UTC), untracked=untracked)

    # the kernel's side

    def attach(self, endpoint: Endpoint) -> None:
        """A process has been started: connect to it. `warm_up` must follow."""
        self._endpoint = endpoint
        self._iopub = endpoint.subscribe(self._published, self._flush)
        self._warm_up = ReadinessProbe(endpoint, self._kernel_id)
        for client in self._clients.values():
            client.attach(endpoint)

    async def warm_up(self) -> None:
        """Wait until the kernel answers and is heard; then let the clients' messages through."""
        assert self._warm_up is not None
        try:
            async with asyncio.timeout(PATIENCE):
                await self._warm_up.run()
            self.activity.came_up()
        except TimeoutError:
            logger.warning("Kernel %s has not answered for %d s; going on without", self._kernel_id, PATIENCE)
        self._end_warm_up()
        self._is_ready = True
        for client in self._clients.values():
            client.listen()
        self._tell_state(self._clients.values())

    @property
    def is_ready(self) -> bool:
        """Whether the kernel is up: what clients send goes through."""
        return self._is_ready

    def detach(self) -> None:
        """The process has ended: take what it still said, and let go of its endpoint."""
        self._end_warm_up()
        if self._iopub is not None:
            self._iopub.drain()
            self._iopub.close()
        for client in self._clients.values():
            client.detach()
        self.executions.stop()
        self._is_ready = False
        self._iopub = self._endpoint = None

    def announce(self, state: str) -> None:
        """Tell all clients of a state that the kernel can't tell of itself: restarting or dead."""
        self.activity.state = state
        self._tell_state(self._clients.values())

    # the clients' side

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return sum(client.link is not None for client in self._clients.values())

    @property
    def kept(self) -> tuple[int, int]:
        """Bytes of output that wait for clients or documents: in memory, and on disk."""
        in_memory, on_disk = self.executions.kept
        for client in self._clients.values():
            in_memory += client.outbox.in_memory
            on_disk += client.outbox.on_disk
        return in_memory, on_disk

    def connect(self, session: str, link: Link) -> Client:
        """A websocket of this session has been opened. Its client gets what it has missed first."""
        client = self._clients.get(session)
        if client is None:
            client = self._newcomer(session)
        if replaced := client.connect(link):
            replaced.close(REPLACED, "Replaced by a newer connection of the same session.")
        if self.is_ready:
            self._tell_state((client,))
        return client

    def disconnect(self, client: Client, link: Link, *, for_good: bool = False) -> None:
        """The websocket of this client has been closed, by itself if it is `for_good`."""
        if not client.disconnect(link):
            return
        client.page.has_left = for_good
        self.executions.left(client.page, received_all=not client.outbox)
        if self.connections == 0:
            self._heir = client

    def forget_the_lost(self) -> None:
        """Let go of clients that have been away too long, or are too many; of the heir never."""
        heir = self._heir if self.connections == 0 else None
        away = [client for client in self._clients.values() if client.link is None and client is not heir]
        away.sort(key=lambda client: client.page.left_at, reverse=True)
        now = asyncio.get_running_loop().time()
        for place, client in enumerate(away):
            if place >= MAX_AWAY or now - client.page.left_at > AWAY:
                self._drop(client)

    def close(self, code: int, reason: str) -> None:
        """The end: the clients get their last messages, and their websockets are closed with this code."""
        self.detach()
        for client in self._clients.values():
            task = asyncio.create_task(client.part(code, reason))
            self._parting.add(task)
            task.add_done_callback(self._parting.discard)
        self._clients.clear()

    # inside

    def _newcomer(self, session: str) -> Client:
        if self.connections == 0:
            client = self._heir
            self._clients.pop(client.session, None)
            client.pass_to(session)
            self._clients[session] = client
            return client
        client = self._add_client(session)
        if self._endpoint is not None:
            client.attach(self._endpoint)
        if self.is_ready:
            client.listen()
        return client

    def _add_client(self, session: str) -> Client:
        client = Client(session, Outbox(_gap_notice, self.limits), self.executions)
        self._clients[session] = client
        return client

    def _drop(self, client: Client) -> None:
        client.close()
        self._clients.pop(client.session, None)  # at the end of the kernel all are gone before

    def _end_warm_up(self) -> None:
        if self._warm_up is not None:
            self._warm_up.close()
        self._warm_up = None

    def _published(self, parts: list[bytes]) -> None:
        """A message came on iopub: note what it says about the kernel, and pass it to every client."""
        try:
            header = messages.json_object(parts[0])
            if parts[1] != self._parent_part:  # most often it is that of the message before
                self._parent = messages.json_object(parts[1])
                self._parent_part = parts[1]
                self._execution = self.executions.find(self._parent.get("msg_id"))
            msg_type, parent_type = str(header.get("msg_type")), _text(self._parent.get("msg_type"))
            state = messages.json_object(parts[3]).get("execution_state") if msg_type == "status" else None
        except BadMessage as error:
            logger.warning("%s came from kernel %s on iopub and is ignored", error, self._kernel_id)
            return
        self._session = str(header.get("session"))
        if self._warm_up is not None:
            self._warm_up.heard()
        if msg_type == "iopub_welcome" or self._parent.get("session") == self._kernel_id:
            return  # it is for the pump: a greeting (JEP 65), or about a question of the warm-up
        if state == "starting" and self._is_ready:
            return  # overtaken by the answer, on another socket, which showed that the kernel is up
        self.activity.note(msg_type, parent_type, datetime.now(UTC))
        if state is not None:
            self.activity.note_status(str(state), parent_type)
        if self._execution is not None or msg_type == "update_display_data":
            self.executions.published(self._execution, msg_type, parts[3], state)
        frame = to_v1("iopub", parts)
        is_output = msg_type in OUTPUT
        for client in self._clients.values():
            client.put(frame, is_output=is_output)

    def _flush(self) -> None:
        for client in self._clients.values():
            client.flush()

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
            client.flush()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _make(msg_type: str, content: dict[str, Any], *, session: str) -> list[bytes]:
    return messages.make(msg_type, content, msg_id=uuid.uuid4().hex, session=session, at=datetime.now(UTC))


def _gap_notice(lost: bytes, count: int) -> bytes:
    return messages.gap_notice(lost, count, msg_id=uuid.uuid4().hex, at=datetime.now(UTC))
