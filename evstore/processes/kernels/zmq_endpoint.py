"""A kernel that is reached through ZMQ: signed messages on a socket for each channel."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import zmq

from evstore.processes.kernels.endpoint import AllReceived, Published, Replied
from evstore.processes.kernels.messages import BadMessage, Signer
from evstore.processes.kernels.sockets import Context, Socket
from evstore.processes.kernels.wire import CLIENT_CHANNELS, Message

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ZmqEndpoint:
    """Where a running kernel listens, and the key that signs its messages, which no client ever sees."""

    context: Context
    addresses: Mapping[str, str]  # of shell, control, stdin and iopub
    signer: Signer

    def subscribe(self, published: Published, all_received: AllReceived) -> Socket:
        """An `Endpoint`'s: one subscription to everything."""

        def take(raw: list[bytes]) -> None:
            try:
                parts = self.signer.unwrap(raw)
            except BadMessage as error:
                _ignore(error, "iopub")
            else:
                published(parts)

        return Socket(self.context, zmq.SUB, self.addresses["iopub"], take, all_received)

    def open(self, replied: Replied, all_received: AllReceived) -> ZmqChannels:
        """An `Endpoint`'s. All three sockets have one identity: by it the kernel finds, on stdin, the
        client whose code it runs."""
        identity = uuid.uuid4().hex.encode()
        take = partial(self._take, replied)
        sockets = {
            channel: Socket(
                self.context,
                zmq.DEALER,
                self.addresses[channel],
                partial(take, channel),
                all_received,
                identity=identity,
            )
            for channel in CLIENT_CHANNELS
        }
        return ZmqChannels(sockets, self.signer)

    def _take(self, replied: Replied, channel: str, raw: list[bytes]) -> None:
        try:
            parts = self.signer.unwrap(raw)
        except BadMessage as error:
            _ignore(error, channel)
        else:
            replied(channel, parts)


@dataclass(frozen=True, slots=True)
class ZmqChannels:
    """One client's sockets."""

    sockets: Mapping[str, Socket]
    signer: Signer

    def send(self, message: Message) -> bool:
        """Sign and send; False when ZMQ's queue is full (the kernel has not taken 1,000 messages)."""
        return self.sockets[message.channel].send(self.signer.wrap(message.parts))

    def drain(self) -> None:
        for socket in self.sockets.values():
            socket.drain()

    def close(self) -> None:
        for socket in self.sockets.values():
            socket.close()


def _ignore(error: BadMessage, channel: str) -> None:
    logger.warning("%s came from a kernel on %s and is ignored", error, channel)
