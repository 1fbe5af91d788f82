"""A log of 1,000,000 events and 100,000 files: start, listings then and now, renames, replay, memory.

    python -m bench.scale [--events 1000000] [--cache FOLDER]

The log is made once (bench/biglog.py) and kept; each run works on a copy of it.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import orjson

from bench import servers
from bench.biglog import cached
from bench.client import Connection, Target, request
from bench.contents import last_offset
from bench.options import Settings, main
from bench.table import Row
from evstore.log import log
from evstore.log.engine.sqlite.reader import SqliteReader
from evstore.store.store import Store

MB = 1_000_000
LISTED = {
    "the top directory": "",
    "a directory of 90 files": "/work/area-00/topic-07",
    "a directory of 10,000 files": "/work/big",
}
PAST = (0.3, 0.6, 0.9)  # parts of the log
# else the files of the log would be written into an empty folder first; bench/folder.py measures that
LOG_ALONE = ["--no-folder"]
TIMES = 7  # each thing is done so often; the median counts


def measure(settings: Settings) -> list[Row]:
    made = cached(settings.cache, settings.events, settings.say)
    with tempfile.TemporaryDirectory(prefix="copy-", dir=settings.cache) as folder:
        path = Path(shutil.copy(made, folder))
        parts = (starts, asked, in_process)
        return [row for part in parts for row in part(path, settings)]


def starts(path: Path, settings: Settings) -> list[Row]:
    """How long the server takes to its first answer, with nothing in the log and with all of it."""

    def start(db: Path | None) -> float:
        with servers.evstore(db, flags=LOG_ALONE) as running:
            return running.start

    async def open_it() -> float:
        started = time.perf_counter()
        store = await Store.open(path)
        took = time.perf_counter() - started
        await store.close()
        return took

    rounds = range(settings.rounds)
    empty = statistics.median(start(None) for _ in rounds)
    full = statistics.median(start(path) for _ in rounds)
    opened = statistics.median(asyncio.run(open_it()) for _ in rounds)
    of_it = f"{settings.events:,} events"
    return [
        Row(work=f"start of the server on {of_it}", unit="s", ours=full, aim=1.0, less=True),
        Row(work="start of the server on an empty log", unit="s", ours=empty, less=True),
        Row(work=f"opening a log of {of_it}", unit="s", ours=opened, less=True),
    ]


# -- over HTTP ---------------------------------------------------------------------------


def asked(path: Path, settings: Settings) -> list[Row]:
    """What a client waits for."""
    with servers.evstore(path, flags=LOG_ALONE) as running:
        client = Client(running.connect(), running.target)
        idle = running.memory()
        rows = [*renames(client, settings), *listings(client), *versions(client), *restores(client)]
        return [
            *rows,
            Row(work="memory (RSS) after the start", unit="MB", ours=idle / MB, less=True),
            Row(work="memory (RSS) after all this", unit="MB", ours=running.memory() / MB, less=True),
        ]


class Client:
    """Asks, and measures how long the answer takes."""

    def __init__(self, connection: Connection, target: Target) -> None:
        self._connection = connection
        self._target = target

    @property
    def offset(self) -> int:
        return last_offset(self._connection, self._target)

    def ms(self, method: str, path: str, body: bytes = b"") -> float:
        message = request(self._target, method, path, body)
        started = time.perf_counter()
        self._connection.ask(message)
        return (time.perf_counter() - started) * 1000

    def median_ms(self, method: str, path: str, body: bytes = b"") -> float:
        return statistics.median(self.ms(method, path, body) for _ in range(TIMES))


def renames(client: Client, settings: Settings) -> list[Row]:
    times: list[float] = []
    for at in range(3 * TIMES):
        names = ("work", "renamed") if at % 2 == 0 else ("renamed", "work")
        times.append(client.ms("PATCH", f"/api/contents/{names[0]}", b'{"path":"%b"}' % names[1].encode()))
    client.ms("PATCH", "/api/contents/renamed", b'{"path":"work"}')
    work = f"rename of a folder of {settings.events // 10:,} files"
    return [
        Row(work=work, unit="ms", ours=statistics.median(times), aim=10.0, less=True),
        Row(work=f"{work}, worst of {len(times)}", unit="ms", ours=max(times), less=True),
    ]


def listings(client: Client) -> Generator[Row]:
    head = client.offset
    for name, path in LISTED.items():
        address = f"/api/contents{path}"
        fresh = [_after_a_change(client, address) for _ in range(TIMES)]
        yield Row(work=f"list {name}, after a change", unit="ms", ours=statistics.median(fresh), less=True)
        yield Row(work=f"list {name}, again", unit="ms", ours=client.median_ms("GET", address), less=True)
        for part in PAST:
            ours = client.median_ms("GET", f"{address}?at={int(head * part)}")
            yield Row(work=f"list {name}, as of {part:.0%} of the log", unit="ms", ours=ours, less=True)


def _after_a_change(client: Client, address: str) -> float:
    client.ms("POST", "/api/contents/work/area-01", b'{"type":"directory"}')
    return client.ms("GET", address)


def versions(client: Client) -> Generator[Row]:
    file = "/work/area-00/topic-07/file-000633.ipynb"
    for name, path in {"a file": file, **LISTED}.items():
        ours = client.median_ms("GET", f"/api/history/versions{path}?limit=100")
        yield Row(work=f"last 100 versions of {name}", unit="ms", ours=ours, less=True)


def restores(client: Client) -> Generator[Row]:
    head = client.offset
    for part in PAST:
        body = orjson.dumps({"at": int(head * part), "dry_run": True})
        ours = client.ms("POST", "/api/history/restore", body)
        work = f"what restoring the whole tree to {part:.0%} of the log would do"
        yield Row(work=work, unit="ms", ours=ours, less=True)


# -- the log itself ----------------------------------------------------------------------


def in_process(path: Path, settings: Settings) -> list[Row]:
    """Reading, checking and replaying the whole log."""
    with reading(path) as reader:
        read = seconds(lambda: reader.query(lambda tx: sum(len(page) for page in log.pages(tx))))
        verified = seconds(lambda: reader.query(lambda tx: list(log.verify_chain(tx))))

    async def rebuild() -> float:
        store = await Store.open(path)
        started = time.perf_counter()
        await store.rebuild(lambda done: settings.say(f"  rebuilt {done:,}") if done % 200_000 == 0 else None)
        took = time.perf_counter() - started
        await store.close()
        return took

    rebuilt = asyncio.run(rebuild())
    events = settings.events
    return [
        Row(work="rebuild of all projections", unit="events/s", ours=events / rebuilt, aim=50_000),
        Row(work="read the log and decode its events", unit="events/s", ours=events / read),
        Row(work="verify the chain of hashes", unit="events/s", ours=events / verified),
        Row(work="the database", unit="MB", ours=path.stat().st_size / MB, less=True),
    ]


@contextmanager
def reading(path: Path) -> Generator[SqliteReader]:
    reader = SqliteReader(path)
    try:
        yield reader
    finally:
        reader.shut()


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(measure, __doc__)
