"""A folder of 100,000 files: the first start, the next ones, what happens in it, and what it costs beside no folder.

    python -m bench.folder [--files 100000] [--short]

The folder is made anew each time, in --cache. `while it is taken in` tells what everybody else waits for
meanwhile: the event loop seen from inside (bench/heartbeat.py), a small GET and a small save every 10 ms.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import orjson

from bench import contents, servers
from bench.client import Connection, Message, Target, request, run
from bench.options import Settings, main
from bench.servers import Running
from bench.stall import written
from bench.table import Row

MB = 1_000_000
BIG = 10  # one file of so many is in one directory, `big`; the others are ten by ten
TOPIC, AREA = 90, 50  # files in a directory, directories in a directory
TIMES = 7  # each small thing is done so often; the median counts
WAIT = 0.002  # seconds between two looks for an event
PAUSE = 0.01  # seconds between two requests of those who wait meanwhile
IDLE = 60.0  # seconds in which it is measured what watching costs
PATIENCE = 900.0  # seconds for 100,000 files on a machine that has others to serve
WITH_HEART = (sys.executable, "-m", "bench.heartbeat")


def measure(settings: Settings) -> list[Row]:
    files = 10_000 if settings.short else settings.files
    settings.cache.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="folder-", dir=settings.cache) as name:
        folder = Path(name)
        make(folder, files, settings.say)
        for part in (starts, happenings, watching):
            rows += part(folder, files, settings)
    return rows + beside(settings)


# -- the folder --------------------------------------------------------------------------


def make(folder: Path, files: int, say: Callable[[str], None]) -> None:
    say(f"  making {files:,} files")
    rng = random.Random(1)
    for path in paths(files):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(body(rng))


def paths(files: int) -> Iterator[str]:
    """`big/...`, then `area-NN/topic-NN/...`."""
    for index in range(files):
        if index < files // BIG:
            yield f"big/file-{index:06}.csv"
        else:
            topic = (index - files // BIG) // TOPIC
            yield f"area-{topic // AREA:02}/topic-{topic % AREA:02}/file-{index:06}.py"


def body(rng: random.Random) -> bytes:
    return "".join(f"x = {rng.random()}\n" for _ in range(rng.randint(2, 80))).encode()


# -- starts ------------------------------------------------------------------------------


def starts(folder: Path, files: int, settings: Settings) -> Generator[Row]:
    """From the start of the process to its first answer."""
    with served(folder) as running:
        first, memory, watches = running.start, running.memory(), running.watches()
    yield Row(work=f"first start on a folder of {files:,} files", unit="files/s", ours=files / first)
    yield Row(work="memory (RSS) after the first start", unit="MB", ours=memory / MB, less=True)
    yield Row(work="directories that the system is asked to watch (inotify)", unit="", ours=watches)
    again = [started(folder) for _ in range(settings.rounds)]
    for what, at in (("to its first answer", 0), ("CPU", 1)):
        ours = statistics.median(one[at] for one in again)
        work = f"next start, nothing has changed: {what}"
        yield Row(work=work, unit="s", ours=ours, aim=3.0, less=True)
    yield Row(work="memory (RSS) after the next start", unit="MB", ours=again[-1][2] / MB, less=True)
    changed: list[float] = []
    for index in range(settings.rounds):
        (folder / "big/file-000000.csv").write_text(f"changed = {index}\n")
        with served(folder) as running:
            changed.append(running.start)
            text = Client(running).get("/api/contents/big/file-000000.csv")["content"]
            if text != f"changed = {index}\n":
                raise RuntimeError(f"what was written while nobody looked is not there, but {text!r}")
    ours = statistics.median(changed)
    yield Row(work="next start, one file has changed", unit="s", ours=ours, aim=3.0, less=True)


@contextmanager
def served(folder: Path, *flags: str, program: tuple[str, ...] = servers.EVSTORE) -> Generator[Running]:
    with servers.evstore(folder=folder, flags=flags, program=program, patience=PATIENCE) as running:
        yield running


def started(folder: Path) -> tuple[float, float, int]:
    with served(folder) as running:
        return running.start, running.cpu(), running.memory()


# -- what happens in it ------------------------------------------------------------------


class Client:
    """Asks, and waits for events."""

    def __init__(self, running: Running) -> None:
        self._connection = running.connect()
        self._target = running.target

    def get(self, path: str) -> dict[str, Any]:
        return orjson.loads(self._connection.ask(request(self._target, "GET", path)).body)

    def ms(self, method: str, path: str, body: bytes = b"") -> float:
        message = request(self._target, method, path, body)
        started = time.perf_counter()
        self._connection.ask(message)
        return (time.perf_counter() - started) * 1000

    @property
    def head(self) -> int:
        return contents.last_offset(self._connection, self._target)

    def new(self, after: int, actor: str, least: int) -> dict[str, int]:
        """How many events of each name come past `after`, once there are `least`. Raises RuntimeError when they don't."""
        query = f"/api/history/log?actor={actor}&limit=1000&after="
        end = time.perf_counter() + PATIENCE
        names: dict[str, int] = {}
        while sum(names.values()) < least:
            page = self.get(f"{query}{after}")["events"]
            for one in page:
                names[one["event"]] = names.get(one["event"], 0) + 1
                after = one["offset"]
            if not page:
                if time.perf_counter() > end:
                    raise RuntimeError(f"of {least} events there are only {names}")
                time.sleep(WAIT)
        return names


def happenings(folder: Path, files: int, settings: Settings) -> Generator[Row]:
    """With the server running: one file written, large folders renamed, ten thousand files changed at once."""
    beats = folder.with_suffix(".beats")
    os.environ["BENCH_HEARTBEAT"] = str(beats)
    with served(folder, program=WITH_HEART) as running:
        client, big = Client(running), files // BIG
        ours = [noticed(client, folder, index) for index in range(TIMES)]
        work = "from a write on the disk to its event"
        yield Row(work=work, unit="ms", ours=statistics.median(ours), aim=1000, less=True)
        yield Row(work=f"{work}, worst of {TIMES}", unit="ms", ours=max(ours), less=True)
        yield from listed(client, folder, big)
        ours = [renamed_by_api(client, index) for index in range(TIMES + 1)]
        work = f"rename of a folder of {big:,} files"
        yield Row(work=f"{work}, by a client", unit="ms", ours=statistics.median(ours), aim=10, less=True)
        ours = [renamed_on_disk(client, folder, index) for index in range(TIMES + 1)]
        yield Row(
            work=f"{work}, on the disk, to its event", unit="ms", ours=statistics.median(ours), less=True
        )
        yield from checked_out(running, client, folder, files, beats)
        yield Row(work="memory (RSS) after all this", unit="MB", ours=running.memory() / MB, less=True)
    beats.unlink(missing_ok=True)


def noticed(client: Client, folder: Path, index: int) -> float:
    before = client.head
    started = time.perf_counter()
    (folder / f"area-00/noticed-{index}.txt").write_text(f"{index}\n")
    client.new(before, "disk", 2)  # created, saved
    return (time.perf_counter() - started) * 1000


def listed(client: Client, folder: Path, big: int) -> Generator[Row]:
    after: list[float] = []
    for index in range(TIMES):
        put(client, f"/api/contents/big/saved-{index}.txt", index)
        after.append(client.ms("GET", "/api/contents/big"))
    work = f"list a directory of {big:,} files"
    yield Row(work=f"{work}, after a save in it", unit="ms", ours=statistics.median(after), less=True)
    ours = statistics.median(client.ms("GET", "/api/contents/big") for _ in range(TIMES))
    yield Row(work=f"{work}, again", unit="ms", ours=ours, less=True)
    saves = [put(client, f"/api/contents/big/saved-{index}.txt", -index) for index in range(TIMES)]
    ours = statistics.median(saves)
    yield Row(work="save a small file in it", unit="ms", ours=ours, less=True)


def put(client: Client, path: str, number: int) -> float:
    model = {"type": "file", "format": "text", "content": f"{time.time_ns()} {number}\n"}
    return client.ms("PUT", path, orjson.dumps(model))


def renamed_by_api(client: Client, index: int) -> float:
    old, new = ("big", "large") if index % 2 == 0 else ("large", "big")
    return client.ms("PATCH", f"/api/contents/{old}", orjson.dumps({"path": new}))


def renamed_on_disk(client: Client, folder: Path, index: int) -> float:
    old, new = ("big", "large") if index % 2 == 0 else ("large", "big")
    before = client.head
    started = time.perf_counter()
    (folder / old).rename(folder / new)
    events = client.new(before, "disk", 1)
    took = (time.perf_counter() - started) * 1000
    if events != {"EntryMoved": 1}:
        raise RuntimeError(f"a rename was not taken for one, but for {events}")
    return took


def checked_out(running: Running, client: Client, folder: Path, files: int, beats: Path) -> Generator[Row]:
    """As git does it: each file is deleted and made anew."""
    rng = random.Random(2)
    changed = list(paths(files))[-(files // BIG) :]
    before = client.head
    written(running, beats)
    with Meanwhile(running) as others:
        started = time.perf_counter()
        for path in changed:
            (folder / path).unlink()
            (folder / path).write_bytes(body(rng))
        done = time.perf_counter()
        events = client.new(before, "disk", len(changed))
        took = time.perf_counter() - done
    if events != {"FileSaved": len(changed)}:
        raise RuntimeError(f"{len(changed)} changed files were taken for {events}")
    what = f"{len(changed):,} files changed at once on the disk"
    yield Row(
        work=f"{what} (in {done - started:.1f} s), from the last to the last event",
        unit="s",
        ours=took,
        less=True,
    )
    for who, times in (
        ("the event loop is late", written(running, beats)),
        ("a small GET takes", others.gets),
        ("a small save takes", others.saves),
    ):
        yield Row(work=f"{who} while they are taken in, at worst", unit="ms", ours=max(times), less=True)


class Meanwhile:
    """Somebody who reads, and somebody who saves, all the time."""

    def __init__(self, running: Running) -> None:
        self.gets: list[float] = []  # how long each took, in ms
        self.saves: list[float] = []
        self._end = Event()
        get = request(running.target, "GET", "/api/contents?content=0")
        self._threads = [
            Thread(target=self._ask, args=(running, self.gets, lambda: get)),
            Thread(target=self._ask, args=(running, self.saves, lambda: self._save(running.target))),
        ]

    def _save(self, target: Target) -> Message:
        model = {"type": "file", "format": "text", "content": f"{time.time_ns()}\n"}
        return request(target, "PUT", "/api/contents/meanwhile.txt", orjson.dumps(model))

    def _ask(self, running: Running, times: list[float], message: Callable[[], Message]) -> None:
        connection = Connection(running.target.port)
        while not self._end.wait(PAUSE):
            started = time.perf_counter()
            connection.ask(message())
            times.append((time.perf_counter() - started) * 1000)
        connection.close()

    def __enter__(self) -> Meanwhile:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()


def watching(folder: Path, files: int, settings: Settings) -> Generator[Row]:
    """What it costs that somebody looks, while nothing happens."""
    seconds = 10.0 if settings.short else IDLE
    for how, flags in (("told by the system", ()), ("polling", ("--poll",))):
        with served(folder, *flags) as running:
            before = running.cpu()
            time.sleep(seconds)
            share = (running.cpu() - before) / seconds * 100
        yield Row(
            work=f"CPU while nothing happens to {files:,} files, {how}", unit="%", ours=share, less=True
        )


# -- beside a server that has no folder ------------------------------------------------------


def beside(settings: Settings) -> list[Row]:
    """The same requests to a server with a folder and to one without."""
    with ExitStack() as stack:
        running = [
            stack.enter_context(servers.evstore()),
            stack.enter_context(servers.evstore(flags=["--no-folder"])),
        ]
        for one in running:
            contents.prepare(one)
        return [
            against(work, running, connections, settings)
            for work in compared()
            for connections in contents.CONNECTIONS
            if settings.wants(work.name)
        ]


def compared() -> Iterator[contents.Work]:
    """`times` is the aim against the server without a folder."""
    for name in ("10 kB", "1 MB"):
        get = contents.always(contents.read_path(name))
        yield contents.Work(f"GET {name} notebook", get, None, 0.9)
    yield contents.Work("GET directory of 1,000 files", contents.always("/api/contents/many"), None, 0.9)
    for name in ("10 kB", "1 MB"):
        yield contents.Work(f"PUT {name} notebook", contents.saving(name), None, 0.67)


def against(work: contents.Work, running: list[Running], connections: int, settings: Settings) -> Row:
    rates: list[list[float]] = [[], []]
    for _ in range(settings.rounds):
        for server, found in zip(running, rates, strict=True):
            clients = [work.messages(server.target, client) for client in range(connections)]
            found.append(run(server.target, clients, settings.seconds).rate)
    with_folder, without = map(statistics.median, rates)
    settings.say(f"{connections}x {work.name}: {with_folder:.4g}/s with a folder, {without:.4g}/s without")
    return Row(
        work=f"{connections}x {work.name}, with a folder",
        unit="/s",
        ours=with_folder,
        limit=without,
        limit_is="no folder",
        times=work.times,
        of_limit=True,
    )


if __name__ == "__main__":
    main(measure, __doc__)
