"""What a save and a read of a notebook cost in this process, beside nbformat's own way.

    python bench/notebooks.py             # times
    python bench/notebooks.py --storage   # bytes per revision too (half a minute)

A `first save` knows none of the cells; at the `next save` one thing has changed since (an edit, a run);
`read` is from the bytes to the JSON for clients. `late` is how late a thread that wants to run every
millisecond ran at worst, while another one parsed and saved: what an event loop would feel.
"""

from __future__ import annotations

import argparse
import gc
import io
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import nbformat
import orjson
from notebook_saves import SIZES, saves
from rich.console import Console
from rich.table import Table

from evstore.core.notebooks import CellCache, canonical, parse, to_json

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

REVISIONS = 40


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--storage", action="store_true", help="bytes per revision over 500 saves")
    table = Table("", "kB", "parse", "first save", "next save", "(nbformat)", "read", "(nbformat)", "late")
    for size in SIZES:
        table.add_row(size, *measured(size))
    console = Console(width=100)
    console.print(table, "Medians in milliseconds.")
    if arguments.parse_args().storage:
        storage(console)


def measured(size: str) -> list[str]:
    requests = [orjson.dumps(content) for content in saves(size, REVISIONS)]
    bodies = [canonical(parse(request)).body for request in requests]
    cache = CellCache()
    canonical(parse(requests[0]), cache)
    columns = [
        median(parse, requests),
        median(canonical, [parse(request) for request in requests]),
        median(lambda content: canonical(content, cache), [parse(request) for request in requests[1:]]),
        median(save_by_nbformat, [parse(request) for request in requests]),
        median(lambda body: to_json(body, trusted=True), bodies),
        median(lambda body: orjson.dumps(nbformat.reads(body.decode(), 4)), bodies),
        lateness(requests),
    ]
    return [f"{len(bodies[-1]) / 1000:,.0f}", *(f"{1000 * seconds:.2f}" for seconds in columns)]


def save_by_nbformat(content: Any) -> None:
    nbformat.write(nbformat.from_dict(content), io.StringIO(), version=nbformat.NO_CONVERT)


def median(work: Callable[[Any], object], inputs: list[Any]) -> float:
    """Seconds."""
    times: list[float] = []
    for each in inputs:
        begin = time.perf_counter()
        work(each)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def lateness(requests: list[bytes]) -> float:
    """The worst delay, in seconds, of a thread that asks for a turn every millisecond during saves."""
    done = threading.Event()

    def save() -> None:
        cache = CellCache()
        for request in requests:
            canonical(parse(request), cache)
        done.set()

    gc.collect()
    gc.freeze()  # or a full collection of this process's modules, up to 100 ms, is what is measured
    threading.Thread(target=save).start()
    worst = 0.0
    while not done.is_set():
        begin = time.perf_counter()
        time.sleep(0.001)
        worst = max(worst, time.perf_counter() - begin - 0.001)
    return worst


def storage(console: Console) -> None:
    """Chunks compressed and stored once, manifests of varints compressed, over 500 saves."""
    table = Table("", "mean size", "chunks / revision", "manifest / revision", "bytes / revision")
    for size in ("S", "M", "L"):
        cache = CellCache()
        ids: dict[bytes, int] = {}
        whole = chunks = manifests = 0
        for content in saves(size, 500):
            stored = canonical(content, cache)
            whole += len(stored.body)
            for digest, data in stored.chunks:
                if digest not in ids:
                    ids[digest] = len(ids) + 1
                    chunks += min(len(data), len(zstd.compress(data, 3)))
            manifests += len(zstd.compress(b"".join(varint(ids[digest]) for digest, _ in stored.chunks), 3))
        numbers = [whole, chunks, manifests, chunks + manifests]
        table.add_row(size, *(f"{number / 500:,.0f}" for number in numbers))
    console.print(table)


def varint(number: int) -> bytes:
    """LEB128: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


if __name__ == "__main__":
    main()
