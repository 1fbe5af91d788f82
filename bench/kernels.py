"""Kernels through the websocket beside jupyter_server's, and beside a ZMQ client with no server in between.

    python -m bench.kernels [--rounds 5]

A flood: a kernel prints 20,000 lines, each flushed; how many arrive, and how fast. A round trip:
`pass` is executed; until its reply and its idle are there. (How late a line is while notebooks are
saved is in bench/stall.py.)

Rounds go by turns from one to the next, so that whatever else the machine does meets all of them;
the median counts. The client of both servers is the same, blocking and of little cost.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import zmq
from jupyter_client.manager import KernelManager

from bench import servers
from bench.options import Settings, main
from bench.servers import Running
from bench.table import Row
from bench.websocket import WebSocket, content, execute_request
from evstore.processes.kernels.readiness_probe import LIFT_LIMIT

LINES = 20_000
SHORT = 4_000  # lines of the floods whose rate is measured: more of them, for they vary
SHORTS = 4  # such floods for each round
FLOOD = "for i in range({lines}): print(i, flush=True)"
ROUND_TRIPS = 20  # for each round
BARE = "bare ZMQ client"
FLOOD_AIM = 0.95  # of the bare client's rate
ROUND_TRIP_AIM = 1.3  # times the bare client's


T = TypeVar("T")


class Client(Protocol):
    """Something that executes code and sees what is printed, as it comes."""

    def execute(self, code: str) -> Generator[bytes]:
        """The content of each stream message, until the execution is over."""
        ...


class OverWebSocket:
    """A client of a server."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    def execute(self, code: str) -> Generator[bytes]:
        msg_id, parts = execute_request(code)
        self._socket.send(parts)
        missing = {b"execute_reply", b'"idle"'}
        while missing:
            try:
                frame = self._socket.receive()
            except TimeoutError:
                return  # with so many messages lost, the last may be among them
            if b'"stream"' in frame:
                yield content(frame)
            elif msg_id in frame:
                missing -= {word for word in missing if word in frame}


class OverZmq:
    """A client with nothing between it and the kernel, which reads without parsing.

    Neither its subscription nor the kernel has a limit, or it would lose lines on a busy machine.
    """

    def __init__(self, manager: KernelManager) -> None:
        self._client = manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)
        self._iopub = zmq.Context[zmq.Socket[bytes]].instance().socket(zmq.SUB)
        self._iopub.setsockopt(zmq.RCVHWM, 0)
        self._iopub.subscribe(b"")
        self._iopub.connect(f"{manager.transport}://{manager.ip}-{manager.iopub_port}")
        time.sleep(0.5)  # until the subscription has reached the kernel
        for _ in self.execute(LIFT_LIMIT):
            pass

    def execute(self, code: str) -> Generator[bytes]:
        msg_id = self._client.execute(code, store_history=False).encode()
        while True:
            parts = self._iopub.recv_multipart()
            if b'"stream"' in parts[-4]:
                yield parts[-1]
            elif b'"idle"' in parts[-1] and msg_id in parts[-3]:
                break
        self._client.shell_channel.socket.recv_multipart()

    def close(self) -> None:
        self._iopub.close()
        self._client.stop_channels()


@contextmanager
def bare_client() -> Generator[OverZmq]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name, tempfile.TemporaryFile() as output:
        manager = KernelManager(transport="ipc", connection_file=str(Path(name) / "kernel.json"))
        manager.start_kernel(stdout=output, stderr=output)
        client = OverZmq(manager)
        try:
            yield client
        finally:
            client.close()
            manager.shutdown_kernel(now=True)


@contextmanager
def websocket(server: Running) -> Generator[OverWebSocket]:
    socket = WebSocket(server.target)
    client = OverWebSocket(socket)
    try:
        for _ in client.execute("pass"):
            pass
        yield client
    finally:
        socket.close()


def flood(client: Client, sent: int) -> tuple[int, float]:
    """How many of the lines arrive, and how many arrive in a second."""
    lines = 0
    started = last = time.perf_counter()
    for text in client.execute(FLOOD.format(lines=sent)):
        lines += text.count(b"\\n")
        last = time.perf_counter()
    return lines, lines / (last - started)


def round_trip(client: Client) -> float:
    """In ms."""
    started = time.perf_counter()
    for _ in client.execute("pass"):
        pass
    return (time.perf_counter() - started) * 1000


def by_turns(clients: dict[str, Client], work: Callable[[str, Client], T], rounds: int) -> dict[str, list[T]]:
    """What `work` gives for each client, in each round."""
    found: dict[str, list[T]] = {name: [] for name in clients}
    for _ in range(rounds):
        for name, client in clients.items():
            found[name].append(work(name, client))
    return found


def medians(what: str, found: dict[str, list[float]], settings: Settings) -> dict[str, float]:
    result = {name: statistics.median(values) for name, values in found.items()}
    settings.say(
        f"{what}: "
        + "; ".join(
            f"{name} {result[name]:.4g} ({min(values):.4g} to {max(values):.4g})"
            for name, values in found.items()
        )
    )
    return result


def flood_rows(clients: dict[str, Client], settings: Settings) -> list[Row]:
    long = by_turns(clients, lambda _, client: flood(client, LINES)[0], settings.rounds)
    lines = {name: min(counts) for name, counts in long.items()}
    short = by_turns(clients, lambda _, client: flood(client, SHORT)[1], settings.rounds * SHORTS)
    rates = medians("lines/s", short, settings)
    return [
        Row(
            work=f"{LINES:,} printed lines: delivered",
            unit="lines",
            ours=lines["evstore"],
            theirs=lines["jupyter_server"],
            limit=lines["bare"],
            limit_is=BARE,
            aim=LINES,
            note="the worst round",
        ),
        Row(
            work=f"{SHORT:,} printed lines: how fast",
            unit="/s",
            ours=rates["evstore"],
            theirs=rates["jupyter_server"],
            limit=rates["bare"],
            limit_is=BARE,
            times=FLOOD_AIM,
            of_limit=True,
            note="of what is delivered",
        ),
    ]


def round_trip_rows(clients: dict[str, Client], settings: Settings) -> list[Row]:
    found = by_turns(clients, lambda _, client: round_trip(client), settings.rounds * ROUND_TRIPS)
    times = medians("round trip, ms", found, settings)
    return [
        Row(
            work="execute `pass`, round trip",
            unit="ms",
            ours=times["evstore"],
            theirs=times["jupyter_server"],
            limit=times["bare"],
            limit_is=BARE,
            times=ROUND_TRIP_AIM,
            of_limit=True,
            less=True,
        )
    ]


def measure(settings: Settings) -> list[Row]:
    with ExitStack() as stack:
        running = [stack.enter_context(start()) for start in (servers.evstore, servers.jupyter_server)]
        clients: dict[str, Client] = {"bare": stack.enter_context(bare_client())}
        clients |= {one.target.name: stack.enter_context(websocket(one)) for one in running}
        rows: list[Row] = []
        if settings.wants("printed lines"):
            rows += flood_rows(clients, settings)
        if settings.wants("round trip"):
            rows += round_trip_rows(clients, settings)
        return rows


if __name__ == "__main__":
    main(measure, __doc__)
