"""What was lost when the connection to a kernel broke is found out by asking the kernel something after it.

A kernel does what comes on a channel in turn: it says busy on iopub, does it, answers, and says idle. So when the
question is answered, all that was asked before on its channel has been answered, or never will be; and when the
question is heard of on iopub, the idle of all before has come, or never will. Clients would wait for both for ever.

A gateway may subscribe anew, which takes effect at some later moment, or takes a message for itself to see that it
has. So a question that is answered and not heard of is asked again.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from evstore.processes.gateway.requests import Request, Requests
from evstore.processes.kernels import messages
from evstore.processes.kernels.endpoint import Published, Replied
from evstore.processes.kernels.messages import BadMessage
from evstore.processes.kernels.wire import Message

logger = logging.getLogger(__name__)

UNHEARD = 1.0  # seconds of silence on iopub until a question that was answered is asked again
TRIES = 5  # until a kernel counts as one that does not say idle
STATUS = 64  # bytes: no more are in the content of a status
LOST = "The connection to the gateway broke, and the answer was lost. It may or may not have run."
CUT = "the connection to the gateway broke; the end of the output may be missing."


@dataclass(eq=False, slots=True)
class Question:
    """Something that the kernel was asked on a channel, after all of `before`."""

    msg_id: str
    channel: str
    before: list[Request]
    tries: int  # that are left
    is_answered: bool = False
    is_heard: bool = False
    timer: asyncio.TimerHandle | None = None


class ReconnectFence:
    """For one kernel: tells those who wait what never came. It speaks in the kernel's name."""

    def __init__(
        self,
        kernel_id: str,
        requests: Requests,
        send: Callable[[Message, Replied], None],
        publish: Published,
    ) -> None:
        self._kernel_id = kernel_id  # ours: the pump keeps what is about questions in its name to itself
        self._requests = requests
        self._send = send
        self._put_out = publish
        self._questions: dict[str, Question] = {}  # by the message's id
        self._last: list[bytes] = []  # the last message on iopub

    def heard(self, parts: list[bytes]) -> None:
        """A message came on iopub, and is about to be published. Raises BadMessage."""
        self._last = parts
        if len(parts[3]) > STATUS or b"execution_state" not in parts[3]:
            return
        request, state = self._requests.parent(parts), messages.json_object(parts[3]).get("execution_state")
        if request is None or state is None:
            return
        if question := self._questions.get(request.msg_id):
            self._is_heard_of(question)
        if state == "idle":
            self._requests.idle(request)

    def came_back(self, away: float) -> None:
        """There is a connection again, after so many seconds."""
        self.tell_cell(
            f"the connection to the gateway was broken for {away:.1f} s; output of that time may be missing."
        )
        for channel in sorted({"shell"} | {request.channel for request in self._doubtful()}):
            self._ask(channel, TRIES)

    def tell_cell(self, words: str) -> None:
        """Say something among the output of the cell that runs, if one does."""
        with suppress(BadMessage):
            request = self._requests.parent(self._last) if self._last else None
            if request is not None and not request.is_answered:
                self._tell(request, words)

    def stop(self) -> None:
        """Wait for the answers to no question any more."""
        for question in list(self._questions.values()):
            self._drop(question)
        self._requests.forget(self._replied)

    # questions

    def _doubtful(self) -> list[Request]:
        return [one for one in self._requests.sent() if one.in_order and one.replied != self._replied]

    def _ask(self, channel: str, tries: int) -> None:
        msg_id = uuid.uuid4().hex
        before = [request for request in self._doubtful() if request.channel == channel]
        self._questions[msg_id] = Question(msg_id, channel, before, tries)
        question = messages.make(
            "kernel_info_request", {}, msg_id=msg_id, session=self._kernel_id, at=datetime.now(UTC)
        )
        self._send(Message(channel, question), self._replied)

    def _replied(self, _channel: str, parts: list[bytes]) -> None:
        question = self._questions.get(str(messages.json_object(parts[1]).get("msg_id")))
        if question is None:
            return
        question.is_answered = True
        for request in question.before:
            if request in self._requests and not request.is_answered:
                self._answer_lost(request)
        if question.is_heard:
            self._drop(question)
        else:
            self._listen_for(question)

    def _is_heard_of(self, question: Question) -> None:
        question.is_heard = True
        for request in question.before:
            if request in self._requests and not request.is_idle:
                self._idle_lost(request)
        if question.is_answered:
            self._drop(question)

    def _listen_for(self, question: Question) -> None:
        question.timer = asyncio.get_running_loop().call_later(UNHEARD, self._look, question, self._last)

    def _look(self, question: Question, last: list[bytes]) -> None:
        """Is the question unheard of still? As long as anything comes on iopub, it may be among what follows."""
        if self._last is not last:
            self._listen_for(question)
        elif question.tries > 1:
            self._drop(question)
            self._ask(question.channel, question.tries - 1)
        else:
            logger.warning("Kernel %s answers and is not heard on iopub", self._kernel_id)
            self._is_heard_of(question)

    def _drop(self, question: Question) -> None:
        """It has done its work, or another one takes its place."""
        self._questions.pop(question.msg_id, None)
        if question.timer is not None:
            question.timer.cancel()

    # in the kernel's name

    def _answer_lost(self, request: Request) -> None:
        content: dict[str, Any] = {
            "status": "error",
            "ename": "ConnectionLost",
            "evalue": LOST,
            "traceback": [LOST],
        }
        if request.msg_type == "execute_request":
            content["execution_count"] = None
        request.is_lost = True
        self._tell(request, LOST)
        self._requests.answered(request)
        request.replied(request.channel, self._make(request.reply_type, content, parent=request.header))

    def _idle_lost(self, request: Request) -> None:
        if request.is_answered and not request.is_lost:
            self._tell(request, CUT)
        self._requests.idle(request)
        self._publish("status", {"execution_state": "idle"}, request.header)

    def _tell(self, request: Request, words: str) -> None:
        if request.msg_type == "execute_request":
            self._publish("stream", {"name": "stderr", "text": f"evstore: {words}\n"}, request.header)

    def _publish(self, msg_type: str, content: dict[str, Any], parent: bytes) -> None:
        self._put_out(self._make(msg_type, content, parent=parent))

    def _make(self, msg_type: str, content: dict[str, Any], *, parent: bytes) -> list[bytes]:
        """A message with the kernel's own session, for clients throw away those of others."""
        session = ""
        with suppress(BadMessage):
            session = str(messages.json_object(self._last[0]).get("session", "")) if self._last else ""
        return messages.make(
            msg_type, content, msg_id=uuid.uuid4().hex, session=session, at=datetime.now(UTC), parent=parent
        )
