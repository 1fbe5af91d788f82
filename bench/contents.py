"""The contents API beside jupyter_server's, in one run: reading, listing, saving; and beside aiohttp alone.

    python -m bench.contents [--seconds 2] [--rounds 3]

Each work is done in rounds, by one server after the other, so that whatever else the machine does
meets all of them; the median round counts. `8x` means eight connections at once, each a process with
its own notebook. Each save differs from the one before: somebody has edited one cell, and text like
that was never saved before.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from bench import servers
from bench.client import Connection, Message, Messages, Result, Target, head, request, run
from bench.notebook_saves import saves
from bench.options import Settings, main
from bench.servers import Running
from bench.table import Row

NOTEBOOKS = {"10 kB": "XS", "1 MB": "M", "5 MB": "L"}  # how it is called, and the generator's size
MEMBERS = 1000  # files in the directory that is listed
CONNECTIONS = (1, 8)
STAMP = "# edited 0000000000"
TEMPLATES = 4  # different cells of a notebook that are edited in turn
GET_AIMS = {"10 kB": 20.0, "1 MB": 30.0, "5 MB": 30.0}
PUT_AIMS = {"10 kB": 5.0, "1 MB": 3.0, "5 MB": 3.0}
LIST_AIM = 100.0


@dataclass(frozen=True, slots=True)
class Work:
    """Something to ask of each server."""

    name: str
    messages: Callable[[Target, int], Messages]  # for a target and the number of a client
    bare: Callable[[Target, int], Messages] | None  # what to ask of aiohttp alone in its place
    times: float | None  # the aim, as a multiple of jupyter_server
    theirs: bool = True  # jupyter_server can do it


@contextmanager
def all_servers() -> Generator[list[Running]]:
    with ExitStack() as stack:
        running = [
            stack.enter_context(start()) for start in (servers.evstore, servers.jupyter_server, servers.bare)
        ]
        for one in running[:2]:
            prepare(one)
        yield running


def model(content: dict[str, Any]) -> bytes:
    """What JupyterLab sends to save a notebook."""
    return orjson.dumps({"type": "notebook", "format": "json", "content": content})


def prepare(server: Running) -> None:
    """Put the notebooks and the directory there that will be read."""
    connection, target = server.connect(), server.target
    for name, size in NOTEBOOKS.items():
        content = next(saves(size, 1))
        connection.ask(request(target, "PUT", read_path(name), model(content)))
    connection.ask(request(target, "PUT", "/api/contents/many", b'{"type":"directory"}'))
    for index in range(MEMBERS):
        body = orjson.dumps({"type": "file", "format": "text", "content": f"This is file {index}.\n"})
        connection.ask(request(target, "PUT", f"/api/contents/many/file-{index:04}.txt", body))
    connection.close()


def read_path(name: str) -> str:
    return f"/api/contents/read-{NOTEBOOKS[name]}.ipynb"


def always(path: str) -> Callable[[Target, int], Messages]:
    def messages(target: Target, _: int) -> Messages:
        message = request(target, "GET", path)
        return lambda _: message

    return messages


def edits(size: str, seed: int) -> list[tuple[bytes, bytes]]:
    """The model of a notebook, TEMPLATES times with another cell edited: what stands before and after the stamp."""
    notebook = next(saves(size, 1, seed))
    cells = notebook["cells"]
    parts: list[tuple[bytes, bytes]] = []
    for template in range(TEMPLATES):
        at = template * len(cells) // TEMPLATES
        cell = {**cells[at], "source": f"{cells[at]['source']}\n{STAMP}"}
        body = model({**notebook, "cells": [*cells[:at], cell, *cells[at + 1 :]]})
        before, stamp, after = body.partition(STAMP.encode())
        parts.append((before + stamp[:-10], after))
    return parts


def saving(name: str) -> Callable[[Target, int], Messages]:
    """Saves of one notebook per client; `serial` goes on from round to round, so that each text is new."""
    notebooks = [edits(NOTEBOOKS[name], seed) for seed in range(max(CONNECTIONS))]
    serial = 0

    def messages(target: Target, client: int) -> Messages:
        nonlocal serial
        serial += 1
        first = serial * 100_000
        path = (
            f"/api/contents/saved-{NOTEBOOKS[name]}-{client}.ipynb" if target.name != "aiohttp alone" else "/"
        )
        parts = notebooks[client]
        tops = [head(target, "PUT", path, len(before) + 10 + len(after)) for before, after in parts]

        def message(index: int) -> Message:
            before, after = parts[index % TEMPLATES]
            return (tops[index % TEMPLATES], before, b"%010d" % (first + index), after)

        return message

    return messages


def works(offset: int) -> Generator[Work]:
    """What is measured; `offset` is one at which evstore held all that is read."""
    for name in NOTEBOOKS:
        size = len(model(next(saves(NOTEBOOKS[name], 1))))
        bare = always(f"/?size={size}")
        yield Work(f"GET {name} notebook", always(read_path(name)), bare, GET_AIMS[name])
        past = always(f"{read_path(name)}?at={offset}")
        yield Work(f"GET {name} notebook at a past offset", past, bare, None, theirs=False)
    yield Work(
        "GET hash and date of a 1 MB notebook",
        always(f"{read_path('1 MB')}?content=0&hash=1"),
        always("/?size=300"),
        None,
    )
    listed = always("/api/contents/many")
    yield Work(f"GET directory of {MEMBERS:,} files", listed, always("/?size=250000"), LIST_AIM)
    past = always(f"/api/contents/many?at={offset}")
    yield Work(f"GET directory of {MEMBERS:,} files at a past offset", past, None, None, theirs=False)
    for name in NOTEBOOKS:
        save = saving(name)
        yield Work(f"PUT {name} notebook", save, save, PUT_AIMS[name])


def measured(work: Work, running: Sequence[Running], connections: int, settings: Settings) -> Row:
    """The work's line, and with it how long one took."""
    asked = [(running[0], work.messages)]
    asked += [(running[1], work.messages)] if work.theirs else []
    asked += [(running[2], work.bare)] if work.bare else []
    results: dict[str, list[Result]] = {}
    for _ in range(settings.rounds):
        for server, messages in asked:
            clients = [messages(server.target, client) for client in range(connections)]
            results.setdefault(server.target.name, []).append(run(server.target, clients, settings.seconds))
    rates = {name: statistics.median(one.rate for one in found) for name, found in results.items()}
    ours = results["evstore"]
    settings.say(
        f"{connections}x {work.name}: "
        + ", ".join(f"{name} {rate:.4g}/s" for name, rate in rates.items())
        + f"; ours took {statistics.median(one.median for one in ours):.2f} ms (median),"
        + f" {max(one.p99 for one in ours):.1f} (p99), {max(one.worst for one in ours):.1f} (worst)"
    )
    return Row(
        work=f"{connections}x {work.name}",
        unit="/s",
        ours=rates["evstore"],
        theirs=rates.get("jupyter_server"),
        limit=rates.get("aiohttp alone"),
        times=work.times,
    )


def measure(settings: Settings) -> list[Row]:
    with all_servers() as running:
        offset = last_offset(running[0].connect(), running[0].target)
        return [
            measured(work, running, connections, settings)
            for work in works(offset)
            for connections in CONNECTIONS
            if settings.wants(work.name)
        ]


def last_offset(connection: Connection, target: Target) -> int:
    answer = connection.ask(request(target, "GET", "/api/history/log?limit=1"))
    return int(orjson.loads(answer.body)["head"])


if __name__ == "__main__":
    main(measure, __doc__)
