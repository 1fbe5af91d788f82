"""Getting a kernel that has just been started to the point where nothing that it says is lost.

Two things would lose output. A subscription takes effect at some later moment, and what is
published before is dropped; so the kernel is asked for its info until it was heard on iopub
(jupyter_server calls this nudging). And a publisher drops what is over its own limit, by
default 1,000 messages per subscriber: a loop of prints gets there whenever this machine has no
time for our side for a fifth of a second. The limit can only be lifted inside the kernel, so
ipykernel is asked to, in a silent execution that no client sees.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from datetime import UTC, datetime
from typing import Any

import zmq

from evstore.processes.kernels import messages
from evstore.processes.kernels.endpoint import Endpoint
from evstore.processes.kernels.messages import BadMessage
from evstore.processes.kernels.wire import Message

NUDGE = 0.5  # seconds between questions
LIFT = 5.0  # seconds that lifting the limit may take
LIFT_LIMIT = (
    f"(lambda thread: thread.schedule(lambda: thread.socket.setsockopt({int(zmq.SNDHWM)}, 0)))"
    "(get_ipython().kernel.iopub_thread)"
)


class ReadinessProbe:
    """The questions to one kernel that starts. `session` is the sender's name in them."""

    def __init__(self, endpoint: Endpoint, session: str) -> None:
        self._session = session
        self._heard = False
        self._info: dict[str, Any] | None = None
        self._up = asyncio.Event()
        self._lifted = asyncio.Event()
        self._channels = endpoint.open(self._answered, self._check)

    async def run(self) -> None:
        """Return when the kernel answers, is heard, and has its limit lifted."""
        while not self._up.is_set():
            for channel in ("shell", "control"):
                self._ask(channel, "kernel_info_request", {})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._up.wait(), NUDGE)
        if self._info and self._info.get("implementation") == "ipython":
            content = {"code": LIFT_LIMIT, "silent": True, "store_history": False, "allow_stdin": False}
            self._ask("shell", "execute_request", content)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._lifted.wait(), LIFT)

    def heard(self) -> None:
        """A message came from the kernel on iopub."""
        self._heard = True
        self._check()

    def close(self) -> None:
        """Ask no more."""
        self._channels.close()

    def _ask(self, channel: str, msg_type: str, content: dict[str, Any]) -> None:
        parts = messages.make(
            msg_type, content, msg_id=uuid.uuid4().hex, session=self._session, at=datetime.now(UTC)
        )
        self._channels.send(Message(channel, parts))

    def _answered(self, _channel: str, parts: list[bytes]) -> None:
        with contextlib.suppress(BadMessage):  # it is asked again
            header, _, _, content = map(messages.json_object, parts[:4])
            if header.get("msg_type") == "execute_reply":
                self._lifted.set()
            else:
                self._info = content

    def _check(self) -> None:
        if self._heard and self._info is not None:
            self._up.set()
