"""Bytes on disk per saved revision of a notebook, through the real API; and how fast an old one is read.

    python -m bench.storage [--revisions 500] [--git]

The database file is measured after a WAL checkpoint (the server has stopped then), before the
first revision and after the last. With --git, each revision is committed to a git repository as
well, in the form that nbformat writes, which is then packed by `git gc --aggressive`.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from random import Random

from bench import servers
from bench.client import Connection, Target, request
from bench.contents import model
from bench.notebook_saves import saves
from bench.options import Settings, main
from bench.table import Row
from evstore.core.notebooks import canonical

SIZES = {"250 kB": "S", "1 MB": "M", "5 MB": "L"}
GIT_AGGRESSIVE = 14_400.0  # bytes per revision of M, as `--git` measured it on 2026-11-22 with git 2.39
READS = 40
PATH = "/api/contents/notebook.ipynb"


def measure(settings: Settings) -> list[Row]:
    names = ["1 MB"] if settings.short else list(SIZES)
    return [row for name in names if settings.wants(name) for row in measured(name, settings)]


def measured(name: str, settings: Settings) -> list[Row]:
    size = SIZES[name]
    with tempfile.TemporaryDirectory(prefix="bench-storage-") as folder:
        db = Path(folder) / "log.db"
        with servers.evstore(db):
            pass
        empty = db.stat().st_size
        with servers.evstore(db) as running:
            connection = running.connect()
            offsets = save_all(connection, running.target, size, settings.revisions)
            newest, old = read_times(connection, running.target, offsets)
        each = (db.stat().st_size - empty) / settings.revisions
    revisions = f"{settings.revisions} revisions of a {name} notebook"
    stored = Row(work=f"{revisions}: on disk for each", unit="bytes", ours=each, less=True)
    if size == "M":
        git = git_bytes(size, settings) if settings.git else None
        limit = "git gc --aggressive" + ("" if git else ", measured before")
        stored = replace(stored, limit=git or GIT_AGGRESSIVE, limit_is=limit, times=1.0, of_limit=True)
    return [
        stored,
        Row(work=f"{revisions}: read the newest by its offset", unit="ms", ours=newest, less=True),
        Row(work=f"{revisions}: read a random old one", unit="ms", ours=old, less=True),
    ]


def save_all(connection: Connection, target: Target, size: str, revisions: int) -> list[int]:
    """Save them one after the other; the offsets of the saves."""
    offsets: list[int] = []
    for content in saves(size, revisions):
        answer = connection.ask(request(target, "PUT", PATH, model(content)))
        line = next(
            line for line in answer.head.split(b"\r\n") if line.lower().startswith(b"evstore-offset:")
        )
        offsets.append(int(line.split(b":")[1]))
    return offsets


def read_times(connection: Connection, target: Target, offsets: list[int]) -> tuple[float, float]:
    """Median ms to GET the newest revision, and random ones, neither from a cache."""

    def ms(offset: int) -> float:
        message = request(target, "GET", f"{PATH}?at={offset}")
        started = time.perf_counter()
        connection.ask(message)
        return (time.perf_counter() - started) * 1000

    rng = Random(1)
    newest = statistics.median(ms(offsets[-1]) for _ in range(READS))
    return newest, statistics.median(ms(rng.choice(offsets)) for _ in range(READS))


def git_bytes(size: str, settings: Settings) -> float | None:
    """What git needs for each revision, None where there is no git."""
    if shutil.which("git") is None:
        return None
    with tempfile.TemporaryDirectory(prefix="bench-git-") as folder:

        def git(*arguments: str) -> None:
            quiet = ("-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0")
            subprocess.run(
                ("git", *quiet, *arguments),
                cwd=folder,
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

        git("init")
        for content in saves(size, settings.revisions):
            (Path(folder) / "notebook.ipynb").write_bytes(canonical(content).body)
            git("add", ".")
            git("commit", "--allow-empty", "-m", "save")
        settings.say("git gc --aggressive ...")
        git("gc", "--aggressive", "--prune=now")
        objects = (Path(folder) / ".git" / "objects").rglob("*")
        return sum(file.stat().st_size for file in objects if file.is_file()) / settings.revisions


if __name__ == "__main__":
    main(measure, __doc__)
