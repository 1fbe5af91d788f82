"""Who waits for which answer: the requests of all clients go over one websocket.

On ZMQ each client has sockets of its own, by which a kernel finds it. Over a gateway one websocket is
shared, and an answer is known by its parent header, which names the request.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from evstore.kernels.endpoint import Replied
from evstore.kernels.messages import json_object
from evstore.kernels.wire import Message

MAX_WAITING = 10_000  # requests; not every one is answered
SUFFIX = "_request"


@dataclass(eq=False, slots=True)
class Request:
    """A request that has not been answered yet."""

    msg_id: str
    msg_type: str
    channel: str
    header: bytes
    replied: Replied
    in_order: bool  # it is answered before those that come after it on its channel
    is_sent: bool = False  # it was given to a websocket

    @property
    def reply_type(self) -> str:
        return self.msg_type.removesuffix(SUFFIX) + "_reply"


class Requests:
    """The requests that wait for an answer, the oldest first."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, Request] = OrderedDict()

    def add(self, message: Message, replied: Replied) -> Request | None:
        """A client sends a message: remember it if an answer will come. Raises BadMessage."""
        header = json_object(message.parts[0])
        msg_id, msg_type = header.get("msg_id"), header.get("msg_type")
        if not isinstance(msg_id, str) or not isinstance(msg_type, str) or not msg_type.endswith(SUFFIX):
            return None
        in_order = not header.get("subshell_id")
        request = Request(msg_id, msg_type, message.channel, message.parts[0], replied, in_order)
        self._waiting[msg_id] = request
        if len(self._waiting) > MAX_WAITING:
            self._waiting.popitem(last=False)
        return request

    def route(self, message: Message) -> None:
        """An answer came, or on stdin a question: pass it to whoever made the request.

        Raises BadMessage; what nobody waits for, because its client is gone, is ignored.
        """
        request = self.parent(message.parts)
        if request is None:
            return
        if message.channel == request.channel:
            del self._waiting[request.msg_id]
        request.replied(message.channel, message.parts)

    def parent(self, parts: list[bytes]) -> Request | None:
        """The waiting request that a message is about. Raises BadMessage."""
        msg_id = json_object(parts[1]).get("msg_id")
        return self._waiting.get(msg_id) if isinstance(msg_id, str) else None

    def sent(self) -> list[Request]:
        """Those that were given to a websocket, in the order in which they were made."""
        return [request for request in self._waiting.values() if request.is_sent]

    def give_up(self, requests: Iterable[Request]) -> list[Request]:
        """Forget those of these that still wait. Returns them."""
        return [one for one in requests if self._waiting.pop(one.msg_id, None) is one]

    def forget(self, replied: Replied) -> None:
        """A client has gone."""
        for request in [one for one in self._waiting.values() if one.replied == replied]:
            del self._waiting[request.msg_id]
