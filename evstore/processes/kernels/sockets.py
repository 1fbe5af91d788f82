"""A ZMQ socket on the event loop, without a task or a future per message.

`zmq.asyncio` makes a future for each message; a kernel that prints makes thousands a second.
Here the loop watches the socket's file descriptor and each wake-up takes what has arrived.
That descriptor tells only of changes (http://api.zeromq.org/4-3:zmq-getsockopt, ZMQ_FD): after
every send the socket must be looked at again, or a message that came meanwhile would be stuck.

A wake-up costs more than a message. When messages rush in, one by one, the socket is left alone
for `PAUSE` at a time, as network drivers do with their interrupts: dozens of messages then share a
wake-up, a write to each websocket, and a wake-up of each browser.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import cast

import zmq
import zmq.asyncio

from evstore.core.units import MIB

BURST = 256  # messages per wake-up, so that a flood leaves the loop time for everybody else
BURST_SIZE = 4 * MIB  # bytes per wake-up
RUSH = 50  # wake-ups in a row, each within RUSH_GAP of the last, that make a rush
RUSH_GAP = 0.0005  # seconds
PAUSE = 0.005  # seconds
CALM = 8  # messages: fewer than that in a pause, and the rush is over
RECONNECT = 20  # milliseconds between attempts while a kernel that starts does not listen yet

Context = zmq.asyncio.Context  # as jupyter_client wants it
Received = Callable[[list[bytes]], None]


class Socket:
    """A connected socket.

    `received` is called with the parts of each message, in order, and `all_received` after those
    that have arrived together.
    """

    def __init__(
        self,
        context: Context,
        kind: int,
        address: str,
        received: Received,
        all_received: Callable[[], None],
        *,
        identity: bytes = b"",
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._received = received
        self._all_received = all_received
        self._waiting = False  # a look at the socket is scheduled already
        self._paused = False
        self._woken_at = 0.0
        self._rush = 0  # wake-ups in a row
        plain = cast("zmq.Context[zmq.Socket[bytes]]", context)  # it makes both kinds of sockets
        self._socket = plain.socket(kind, zmq.Socket)
        self._socket.linger = 0
        self._socket.set(zmq.RECONNECT_IVL, RECONNECT)
        # Publishers drop what is over the limit: what arrives is taken in at once and bounded behind us
        self._socket.set(zmq.RCVHWM, 0)
        if identity:
            self._socket.set(zmq.IDENTITY, identity)
        if kind == zmq.SUB:
            self._socket.set(zmq.SUBSCRIBE, b"")
        self._socket.connect(address)
        self._fd = self._socket.fileno()
        self._loop.add_reader(self._fd, self._take)
        self._look()

    def send(self, parts: Sequence[bytes]) -> bool:
        """Hand a message to ZMQ; False when its queue is full (the kernel has not taken 1,000 messages)."""
        try:
            self._socket.send_multipart(parts, zmq.NOBLOCK)
        except zmq.Again:
            return False
        self._look()
        return True

    def drain(self) -> None:
        """Take everything that has arrived up to now."""
        while not self._socket.closed and self._take_some() == BURST:
            pass

    def close(self) -> None:
        """Stop. What has arrived and was not taken is lost: `drain` first."""
        if not self._socket.closed:
            self._loop.remove_reader(self._fd)
            self._socket.close()

    def _look(self) -> None:
        if not self._waiting:
            self._waiting = True
            self._loop.call_soon(self._take)

    def _take(self) -> None:
        self._waiting = False
        if self._socket.closed or self._paused:
            return
        if self._take_some() == BURST:
            self._look()
        now = self._loop.time()
        self._rush = self._rush + 1 if now - self._woken_at < RUSH_GAP else 0
        self._woken_at = now
        if self._rush > RUSH:
            self._pause()

    def _pause(self) -> None:
        self._paused = True
        self._loop.remove_reader(self._fd)
        self._loop.call_later(PAUSE, self._resume)

    def _resume(self) -> None:
        self._paused = False
        if self._socket.closed:
            return
        if self._take_some() < CALM:
            self._rush = 0
            self._loop.add_reader(self._fd, self._take)
        else:
            self._pause()

    def _take_some(self) -> int:
        """Take one burst at most. Returns how many messages, BURST if there may be more."""
        size = 0
        taken = 0
        with contextlib.suppress(zmq.Again):
            while taken < BURST:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
                self._received(parts)
                taken += 1
                size += sum(map(len, parts))
                if size > BURST_SIZE:
                    taken = BURST
        if taken:
            self._all_received()
        return taken
