"""A load generator that is faster than what it measures: blocking sockets, ready-made requests, one process a connection."""

from __future__ import annotations

import multiprocessing
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.queues import Queue

Message = tuple[bytes, ...]
"""A request in parts, as the socket takes them."""
Messages = Callable[[int], Message]
"""What a client sends the first time, the second time, ..."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server to measure."""

    name: str
    port: int
    token: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read to its end."""

    status: int
    head: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """What a run gave: requests per second, and the time that one took, in ms."""

    rate: float
    median: float
    p99: float
    worst: float


def head(target: Target, method: str, path: str, length: int = 0) -> bytes:
    """The first part of a request with a body of `length` bytes."""
    text = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\nAuthorization: token {target.token}\r\n"
    if length:
        text += f"Content-Type: application/json\r\nContent-Length: {length}\r\n"
    return f"{text}\r\n".encode()


def request(target: Target, method: str, path: str, body: bytes = b"") -> Message:
    """A request as it goes over the wire."""
    return (head(target, method, path, len(body)), body)


class Connection:
    """One kept-alive connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(1 << 20)

    def send(self, message: Message) -> int:
        """Send a request, read its whole answer, return the status."""
        top, start, left = self._begin(message)
        left -= len(start)
        while left > 0:
            read = self._socket.recv_into(self._buffer, min(left, len(self._buffer)))
            if not read:
                raise ConnectionError("the server closed the connection in the middle of its answer")
            left -= read
        return int(top[9:12])

    def ask(self, message: Message) -> Answer:
        """Send a request and keep the answer. Raises RuntimeError when it is an error."""
        top, body, length = self._begin(message)
        while len(body) < length:
            body += self._socket.recv(length - len(body))
        answer = Answer(int(top[9:12]), top, body)
        if answer.status >= 400:
            raise RuntimeError(f"{message[0][:80]!r} was answered {answer.status}: {answer.body[:300]!r}")
        return answer

    def close(self) -> None:
        self._socket.close()

    def _begin(self, message: Message) -> tuple[bytes, bytes, int]:
        """Send; the answer's head, what came of the body, and how long the body is."""
        if len(message) == 2 and not message[1]:
            self._socket.sendall(message[0])
        else:
            self._send_all(message)
        received = b""
        while b"\r\n\r\n" not in received:
            block = self._socket.recv(65536)
            if not block:
                raise ConnectionError("the server closed the connection")
            received += block
        top, _, start = received.partition(b"\r\n\r\n")
        lower = top.lower()
        if b"transfer-encoding:" in lower:
            raise RuntimeError("answers in chunks are not understood here")
        at = lower.find(b"content-length:")
        return top, start, int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0

    def _send_all(self, message: Message) -> None:
        sent = self._socket.sendmsg(message)
        for part in message:
            if sent < len(part):
                self._socket.sendall(memoryview(part)[sent:])
            sent = max(0, sent - len(part))


@dataclass(frozen=True, slots=True)
class _Done:
    times: list[float]
    statuses: Counter[int]


def _client(port: int, messages: Messages, seconds: float, out: Queue[_Done]) -> None:
    connection = Connection(port)
    done = _Done([], Counter())
    for index in range(2):
        done.statuses[connection.send(messages(index))] += 1
    index = 2
    now = time.perf_counter()
    end = now + seconds
    while now < end:
        message = messages(index)
        started = time.perf_counter()
        status = connection.send(message)
        now = time.perf_counter()
        done.times.append(now - started)
        done.statuses[status] += 1
        index += 1
    out.put(done)


def run(target: Target, clients: Sequence[Messages], seconds: float) -> Result:
    """Let each of `clients` send on a connection of its own, one request after the other, for `seconds`.

    Raises RuntimeError when a request was refused, for then nothing was measured.
    """
    context = multiprocessing.get_context("fork")
    out: Queue[_Done] = context.Queue()
    processes = [
        context.Process(target=_client, args=(target.port, messages, seconds, out)) for messages in clients
    ]
    for process in processes:
        process.start()
    answers = [out.get(timeout=seconds * 10 + 60) for _ in processes]
    for process in processes:
        process.join()
    statuses = sum((answer.statuses for answer in answers), Counter[int]())
    if refused := {status: count for status, count in statuses.items() if status >= 400}:
        raise RuntimeError(f"{target.name} refused requests (status: how many): {refused}")
    times = sorted(one for answer in answers for one in answer.times)
    return result(times, seconds)


def result(times: Sequence[float], seconds: float) -> Result:
    """`times` (s, ascending) of the requests of `seconds` seconds, summed up."""
    return Result(
        len(times) / seconds,
        quantile(times, 0.5) * 1000,
        quantile(times, 0.99) * 1000,
        times[-1] * 1000,
    )


def quantile(ascending: Sequence[float], part: float) -> float:
    """The value below which `part` (0 to 1) of the values are."""
    return ascending[min(int(len(ascending) * part), len(ascending) - 1)]
