"""What a kernel's life and the pump need of a kernel, wherever it runs.

A *process* is started and stopped; a running one has an *endpoint*, which is where its messages come
from and go to. Both are protocols: local kernels meet them with `process.py` and `zmq_endpoint.py`,
kernels at a gateway with `evstore.processes.gateway`. Messages are lists of parts, as `wire.Message` has them:
four JSON parts, then buffers. Endpoints check that they are the kernel's, and do not parse them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from evstore.processes.kernels.launch_context import LaunchContext
from evstore.processes.kernels.wire import Message

Published = Callable[[list[bytes]], None]  # the parts of a message on iopub
Replied = Callable[[str, list[bytes]], None]  # a channel and the parts of a message that came on it
AllReceived = Callable[[], None]  # after the messages that have arrived together


class Subscription(Protocol):
    """A subscription to what a kernel publishes."""

    def drain(self) -> None:
        """Take everything that has arrived up to now."""
        ...

    def close(self) -> None:
        """Stop. What has arrived and was not taken is lost: `drain` first."""
        ...


class Channels(Protocol):
    """One client's way to a kernel: shell, control and stdin."""

    def send(self, message: Message) -> bool:
        """Pass a message on; False when there is no room just now, or no connection: try again later."""
        ...

    def drain(self) -> None:
        """Take everything that has arrived up to now."""
        ...

    def close(self) -> None:
        """Stop. What has arrived and was not taken is lost: `drain` first."""
        ...


class Endpoint(Protocol):
    """Where a running kernel is reached. It is of use until the process ends or is started again."""

    def subscribe(self, published: Published, all_received: AllReceived) -> Subscription:
        """Have each message on iopub passed to `published`, in order."""
        ...

    def open(self, replied: Replied, all_received: AllReceived) -> Channels:
        """Open the channels for one client. Only the replies to its own requests come to `replied`, and
        the kernel can ask it for input while it runs this client's code."""
        ...


@dataclass(frozen=True, slots=True)
class Ended:
    """A process has ended by itself."""

    how: str  # for the log: "died with exit code 1"
    for_good: bool = False  # it must not be started again


class Process(Protocol):
    """The process of one kernel, and after a restart the next one."""

    @property
    def last_words(self) -> str:
        """What it has said on its own stdout and stderr of late, as one line."""
        ...

    async def launch(self, place: LaunchContext) -> Endpoint:
        """Start the process; return before the kernel answers. Raises CannotStart, with nothing left running."""
        ...

    async def poll(self) -> Ended | None:
        """None while the process runs. Returns at once: nothing else happens to the kernel meanwhile."""
        ...

    async def interrupt(self) -> None:
        """Interrupt what the kernel runs."""
        ...

    async def stop(self, *, now: bool = False, restart: bool = False) -> None:
        """End the process: ask it, or with `now` kill it; with `restart`, `launch` will follow.

        May raise an EvstoreError, and then it runs on.
        """
        ...

    def forget_ports(self) -> None:
        """Listen elsewhere after the next launch: this place may have been taken by somebody else."""
        ...


class Launcher(Protocol):
    """Where processes of kernels come from: this machine, or a gateway."""

    def process(self, kernel_id: str, name: str) -> Process:
        """The process of a new kernel, not launched yet."""
        ...

    async def close(self) -> None:
        """Release what the processes had in common. All have been stopped before."""
        ...
