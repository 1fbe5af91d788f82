"""Who waits for which answer: the requests of all clients go over one websocket.

On ZMQ each client has sockets of its own, by which a kernel finds it. Over a gateway one websocket is
shared, and an answer is known by its parent header, which names the request. A request is over when its answer has
come and, on iopub, its idle, in whatever order: that is what clients wait for, too.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from evstore.processes.kernels.endpoint import Replied
from evstore.processes.kernels.messages import json_object
from evstore.processes.kernels.wire import Message

MAX_WAITING = 10_000  # requests; not every one is answered
SUFFIX = "_request"


@dataclass(eq=False, slots=True)
class Request:
    """A request that is not over yet."""

    msg_id: str
    msg_type: str
    channel: str
    header: bytes
    replied: Replied
    in_order: bool  # it is answered before those that come after it on its channel
    is_sent: bool = False  # it was given to a websocket
    is_answered: bool = False
    is_lost: bool = False  # the answer never came
    is_idle: bool = False  # the kernel has said that it has done it

    @property
    def reply_type(self) -> str:
        return self.msg_type.removesuffix(SUFFIX) + "_reply"


class Requests:
    """The requests that are not over, the oldest first."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, Request] = OrderedDict()

    def __contains__(self, request: Request) -> bool:
        return self._open.get(request.msg_id) is request

    def add(self, message: Message, replied: Replied) -> Request | None:
        """A client sends a message: remember it if an answer will come. Raises BadMessage."""
        header = json_object(message.parts[0])
        msg_id, msg_type = header.get("msg_id"), header.get("msg_type")
        if not isinstance(msg_id, str) or not isinstance(msg_type, str) or not msg_type.endswith(SUFFIX):
            return None
        in_order = not header.get("subshell_id")
        request = Request(msg_id, msg_type, message.channel, message.parts[0], replied, in_order)
        self._open[msg_id] = request
        if len(self._open) > MAX_WAITING:
            self._open.popitem(last=False)
        return request

    def route(self, message: Message) -> None:
        """An answer came, or on stdin a question: pass it to whoever made the request.

        Raises BadMessage; what nobody waits for, because its client is gone, is ignored.
        """
        request = self.parent(message.parts)
        if request is None or request.is_answered:
            return
        if message.channel == request.channel:
            self.answered(request)
        request.replied(message.channel, message.parts)

    def parent(self, parts: list[bytes]) -> Request | None:
        """The open request that a message is about. Raises BadMessage."""
        msg_id = json_object(parts[1]).get("msg_id")
        return self._open.get(msg_id) if isinstance(msg_id, str) else None

    def sent(self) -> list[Request]:
        """Those that were given to a websocket, in the order in which they were made."""
        return [request for request in self._open.values() if request.is_sent]

    def answered(self, request: Request) -> None:
        """Its answer has come, or never will."""
        request.is_answered = True
        self._close_if_over(request)

    def idle(self, request: Request) -> None:
        """Its idle has come, or never will."""
        request.is_idle = True
        self._close_if_over(request)

    def forget(self, replied: Replied) -> None:
        """A client has gone."""
        for request in [one for one in self._open.values() if one.replied == replied]:
            del self._open[request.msg_id]

    def _close_if_over(self, request: Request) -> None:
        if request.is_answered and request.is_idle and request in self:
            del self._open[request.msg_id]
