"""How long everybody else waits while 5 MB notebooks are saved in a loop and a kernel prints.

    python -m bench.stall [--seconds 5]

Seen from inside: a task on evstore's event loop wants to run every 5 ms, and notes how late it ran
(bench/heartbeat.py). Seen from outside, beside jupyter_server: how long a small GET takes, asked
every 10 ms; and how late a line is that a kernel prints every 5 ms. `nobody saves` tells what the
machine itself does.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.queues import Queue
from pathlib import Path

import orjson

from bench import servers
from bench.client import Target, quantile, request, run
from bench.contents import saving
from bench.kernels import Client, websocket
from bench.options import Settings, main
from bench.servers import Running
from bench.table import Row

SAVERS = (0, 1, 4)  # clients that save, each a notebook of its own
PAUSE = 0.01  # seconds between two small requests
LEAST = 3.0  # seconds that each is watched at least, for the worst is what counts

TICKS = """
import time
end = time.time() + {seconds}
while time.time() < end:
    print(time.time(), flush=True)
    time.sleep(0.005)
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was late, in ms, ascending."""

    requests: list[float]
    lines: list[float]
    beats: list[float]  # [] for a server without a heart


def measure(settings: Settings) -> list[Row]:
    seconds = max(LEAST, settings.seconds)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-stall-") as folder, ExitStack() as stack:
        beats = Path(folder) / "beats.json"
        ours = stack.enter_context(with_heart(beats))
        theirs = stack.enter_context(servers.jupyter_server())
        clients = {one.target.name: stack.enter_context(websocket(one)) for one in (ours, theirs)}
        for savers in SAVERS:
            mine = watched(ours, clients["evstore"], savers, seconds, beats)
            other = watched(theirs, clients["jupyter_server"], savers, seconds, None)
            told = f"{savers} save 5 MB notebooks in a loop" if savers else "nobody saves"
            rows += lateness("the event loop is late", told, mine.beats, None)
            rows += lateness("a small GET takes", told, mine.requests, other.requests)
            rows += lateness("a printed line is late", told, mine.lines, other.lines)
    return rows


def lateness(what: str, when: str, ours: list[float], theirs: list[float] | None) -> Generator[Row]:
    for name, part in (("half of the time at most", 0.5), ("99 %", 0.99), ("at worst", 1.0)):
        yield Row(
            work=f"{what}, {name}; {when}",
            unit="ms",
            ours=quantile(ours, part),
            theirs=quantile(theirs, part) if theirs else None,
            less=True,
        )


@contextmanager
def with_heart(beats: Path) -> Generator[Running]:
    """evstore that writes `beats` when it is asked to."""
    os.environ["BENCH_HEARTBEAT"] = str(beats)
    with servers.evstore(program=(sys.executable, "-m", "bench.heartbeat")) as running:
        yield running


def watched(server: Running, client: Client, savers: int, seconds: float, beats: Path | None) -> Seen:
    context = multiprocessing.get_context("fork")
    answers: Queue[list[float]] = context.Queue()
    others = [context.Process(target=ask, args=(server.target, seconds, answers))]
    if savers:
        others.append(context.Process(target=save, args=(server.target, savers, seconds + 1)))
        others[-1].start()
        time.sleep(1)  # the first saves are the first for the caches, too
    if beats is not None:
        written(server, beats)
    others[0].start()
    lines = list(late_lines(client, seconds))
    requests = answers.get(timeout=seconds * 10 + 60)
    found = written(server, beats) if beats is not None else []
    for other in others:
        other.join()
    return Seen(sorted(requests), sorted(lines), sorted(found))


def save(target: Target, savers: int, seconds: float) -> None:
    messages = saving("5 MB")
    run(target, [messages(target, client) for client in range(savers)], seconds)


def ask(target: Target, seconds: float, answers: Queue[list[float]]) -> None:
    connection = servers.Connection(target.port)
    message = request(target, "GET", "/api/contents?content=0")
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        connection.send(message)
        times.append((time.perf_counter() - started) * 1000)
        time.sleep(PAUSE)
    answers.put(times)


def late_lines(client: Client, seconds: float) -> Generator[float]:
    for text in client.execute(TICKS.format(seconds=seconds)):
        now = time.time()
        for line in orjson.loads(text)["text"].split():
            yield (now - float(line)) * 1000


def written(server: Running, beats: Path) -> list[float]:
    """The delays since this was called last."""
    beats.unlink(missing_ok=True)
    os.kill(server.pid, signal.SIGUSR1)
    end = time.perf_counter() + servers.PATIENCE
    while not beats.exists() and time.perf_counter() < end:
        time.sleep(0.01)
    return orjson.loads(beats.read_bytes())


if __name__ == "__main__":
    main(measure, __doc__)
