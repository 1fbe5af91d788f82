"""A load generator that is faster than what it measures: blocking sockets, ready-made requests, one process a connection."""

from __future__ import annotations

import multiprocessing
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.queues import Queue


@dataclass(frozen=True, slots=True)
class Target:
    """A server to measure."""

    name: str
    port: int
    token: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a run gave: requests per second, and the median and worst time of one in ms."""

    rate: float
    median: float
    worst: float
    statuses: dict[int, int]


def request(target: Target, method: str, path: str, body: bytes = b"") -> bytes:
    """A request as it goes over the wire."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\nAuthorization: token {target.token}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class Connection:
    """One kept-alive connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(1 << 20)

    def send(self, message: bytes) -> int:
        """Send a request, read its whole answer, return the status."""
        self._socket.sendall(message)
        head = b""
        while b"\r\n\r\n" not in head:
            block = self._socket.recv(65536)
            if not block:
                raise ConnectionError("the server closed the connection")
            head += block
        top, _, rest = head.partition(b"\r\n\r\n")
        lower = top.lower()
        at = lower.find(b"content-length:")
        left = (int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0) - len(rest)
        while left > 0:
            left -= self._socket.recv_into(self._buffer, min(left, len(self._buffer)))
        return int(top[9:12])


def _client(port: int, messages: Sequence[bytes], seconds: float, out: Queue[tuple[list[float], dict[int, int]]]) -> None:
    connection = Connection(port)
    times: list[float] = []
    statuses: dict[int, int] = {}
    for message in messages[:2]:
        connection.send(message)
    end = time.perf_counter() + seconds
    index = 0
    while time.perf_counter() < end:
        started = time.perf_counter()
        status = connection.send(messages[index % len(messages)])
        times.append(time.perf_counter() - started)
        statuses[status] = statuses.get(status, 0) + 1
        index += 1
    out.put((times, statuses))


def run(target: Target, per_client: Sequence[Sequence[bytes]], seconds: float) -> Result:
    """Send `per_client` requests round and round, one connection for each, for `seconds`."""
    context = multiprocessing.get_context("fork")
    out: Queue[tuple[list[float], dict[int, int]]] = context.Queue()
    clients = [context.Process(target=_client, args=(target.port, messages, seconds, out)) for messages in per_client]
    for client in clients:
        client.start()
    answers = [out.get(timeout=seconds * 10 + 60) for _ in clients]
    for client in clients:
        client.join()
    times = sorted(one for some, _ in answers for one in some)
    statuses: dict[int, int] = {}
    for _, counts in answers:
        for status, count in counts.items():
            statuses[status] = statuses.get(status, 0) + count
    if not times:
        return Result(0.0, 0.0, 0.0, statuses)
    return Result(len(times) / seconds, times[len(times) // 2] * 1000, times[-1] * 1000, statuses)
