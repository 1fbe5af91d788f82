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

from evstore.kernels import messages
from evstore.kernels.messages import BadMessage, Endpoint, Signer
from evstore.kernels.sockets import Context, Socket

NUDGE = 0.5  # seconds between questions
LIFT = 5.0  # seconds that lifting the limit may take
LIFT_LIMIT = (
    f"(lambda thread: thread.schedule(lambda: thread.socket.setsockopt({int(zmq.SNDHWM)}, 0)))"
    "(get_ipython().kernel.iopub_thread)"
)


class WarmUp:
    """The questions to one kernel that starts. `session` is the sender's name in them."""

    def __init__(self, context: Context, endpoint: Endpoint, session: str) -> None:
        self._session = session
        self._signer = Signer(endpoint.key)
        self._heard = False
        self._info: dict[str, Any] | None = None
        self._up = asyncio.Event()
        self._lifted = asyncio.Event()
        self._shell = Socket(context, zmq.DEALER, endpoint.addresses["shell"], self._answered, self._check)
        self._control = Socket(
            context, zmq.DEALER, endpoint.addresses["control"], self._answered, self._check
        )

    async def run(self) -> None:
        """Return when the kernel answers, is heard, and has its limit lifted."""
        while not self._up.is_set():
            for socket in (self._shell, self._control):
                self._ask(socket, "kernel_info_request", {})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._up.wait(), NUDGE)
        if self._info and self._info.get("implementation") == "ipython":
            content = {"code": LIFT_LIMIT, "silent": True, "store_history": False, "allow_stdin": False}
            self._ask(self._shell, "execute_request", content)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._lifted.wait(), LIFT)

    def heard(self) -> None:
        """A message came from the kernel on iopub."""
        self._heard = True
        self._check()

    def close(self) -> None:
        """Ask no more."""
        self._shell.close()
        self._control.close()

    def _ask(self, socket: Socket, msg_type: str, content: dict[str, Any]) -> None:
        parts = messages.make(
            msg_type, content, msg_id=uuid.uuid4().hex, session=self._session, at=datetime.now(UTC)
        )
        socket.send(self._signer.wrap(parts))

    def _answered(self, raw: list[bytes]) -> None:
        with contextlib.suppress(BadMessage):  # it is asked again
            header, _, _, content = map(messages.json_object, self._signer.unwrap(raw)[:4])
            if header.get("msg_type") == "execute_reply":
                self._lifted.set()
            else:
                self._info = content

    def _check(self) -> None:
        if self._heard and self._info is not None:
            self._up.set()
