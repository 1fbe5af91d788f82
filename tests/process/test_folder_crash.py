"""kill -9 while clients and programs work on the same files: log and folder agree afterwards, and nothing saved is missing.

`make soak` does that 100 times (EVSTORE_KILLS).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import random
import shutil
import threading
import time
from pathlib import Path
from urllib.parse import quote

import aiohttp

from evstore.log.engine.base import Tx
from evstore.log.engine.sqlite.reader import SqliteReader
from evstore.projections import tree
from evstore.store.integrity import verify
from tests.process.commands import PATIENCE, TOKEN, Served, info_file, log_of, start

KILLS = int(os.environ.get("EVSTORE_KILLS", "4"))
SEED = int(os.environ.get("EVSTORE_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
CLIENTS = 4
LONGEST = 1.2  # seconds of work before the server is killed
REFUSALS = {400, 403, 404, 409, 412, 503}  # what somebody else was faster with
EXPECTED = "was in the way of what was saved there"
PLACES = [
    f"{directory}{name}" for directory in ("", "a/", "b/", "a/c/") for name in ("1.txt", "2.bin", "3.ipynb")
]
DIRECTORIES = ["a", "b", "a/c", "b/d"]
Tree = dict[str, bytes | None]  # digests by path; None: a directory
EMPTY = hashlib.sha256(b"").digest()


def contents(dice: random.Random) -> bytes:
    return dice.randbytes(dice.choice((0, 10, 3_000, 40_000)))


class Clients:
    """Several at once, who remember what the server has acknowledged."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.acknowledged: set[bytes] = set()
        self.answers = 0

    async def work(self, server: Served, seconds: float) -> None:
        """All at once, until the server is killed after `seconds`."""
        async with aiohttp.ClientSession(server.url, headers={"Authorization": f"token {TOKEN}"}) as session:
            working = [asyncio.create_task(self._go_on(session)) for _ in range(CLIENTS)]
            await asyncio.sleep(seconds)
            server.process.kill()
            ends = await asyncio.gather(*working, return_exceptions=True)
        assert all(isinstance(end, aiohttp.ClientError) for end in ends), ends

    async def _go_on(self, session: aiohttp.ClientSession) -> None:
        while True:
            path, other = self.dice.choice(PLACES), self.dice.choice(PLACES + DIRECTORIES)
            action = self.dice.choices(("save", "make", "rename", "delete"), (8, 1, 3, 2))[0]
            if action == "save":
                body = contents(self.dice)
                text = base64.b64encode(body).decode()
                if await self._ask(
                    session, "PUT", path, {"type": "file", "format": "base64", "content": text}
                ):
                    self.acknowledged.add(hashlib.sha256(body).digest())
            elif action == "make":
                await self._ask(session, "PUT", self.dice.choice(DIRECTORIES), {"type": "directory"})
            elif action == "rename":
                await self._ask(session, "PATCH", self.dice.choice([path, *DIRECTORIES]), {"path": other})
            else:
                await self._ask(session, "DELETE", self.dice.choice([path, *DIRECTORIES]), None)

    async def _ask(self, session: aiohttp.ClientSession, method: str, path: str, data: object) -> bool:
        async with session.request(method, f"api/contents/{quote(path)}", json=data) as reply:
            text = await reply.text()
            assert reply.status < 300 or reply.status in REFUSALS, (method, path, reply.status, text)
            self.answers += 1
            return reply.status < 300


def programs(folder: Path, dice: random.Random, stop: threading.Event) -> None:
    """What kernels and editors do on the disk, until told to stop."""
    while not stop.wait(0.01):
        path, other = folder / dice.choice(PLACES), folder / dice.choice(PLACES + DIRECTORIES)
        try:
            match dice.choice(("write", "write", "replace", "make", "rename", "delete")):
                case "write":
                    path.write_bytes(contents(dice))
                case "replace":
                    aside = folder / ".aside"
                    aside.write_bytes(contents(dice))
                    aside.replace(path)
                case "make":
                    (folder / dice.choice(DIRECTORIES)).mkdir()
                case "rename":
                    (folder / dice.choice([path, *DIRECTORIES])).rename(other)
                case _:
                    victim = folder / dice.choice([path, *DIRECTORIES])
                    shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
        except OSError:
            pass  # a client or the server was faster


def logged(db: Path) -> tuple[Tree, set[bytes]]:
    """The tree, and the digests of all versions ever."""

    def query(tx: Tx) -> tuple[Tree, set[bytes]]:
        entries = tree.subtree(tx, tree.root(tx))
        found = {str(e.path): None if e.is_directory else (e.digest or EMPTY) for e in entries if e.path}
        return found, {row[0] for row in tx.rows("select digest from contents")} | {EMPTY}

    reader = SqliteReader(db)
    try:
        return reader.query(query)
    finally:
        reader.shut()


def on_disk(folder: Path) -> Tree:
    found: Tree = {}
    for place, directories, files in os.walk(folder):
        directories[:] = [name for name in directories if not name.startswith(".")]
        here = Path(place).relative_to(folder)
        found |= {(here / name).as_posix(): None for name in directories}
        for name in files:
            if not name.startswith("."):
                data = Path(place, name).read_bytes()
                found[(here / name).as_posix()] = hashlib.sha256(data).digest()
    return found


def wait_until_equal(db: Path, folder: Path) -> Tree:
    deadline = time.monotonic() + PATIENCE
    while (found := on_disk(folder)) != logged(db)[0]:
        assert time.monotonic() < deadline, (found, logged(db)[0])
        time.sleep(0.1)
    return found


def test_log_and_folder_agree_whenever_it_is_killed(tmp_path: Path) -> None:
    print(f"\nseed {SEED}")
    dice = random.Random(SEED)
    folder = tmp_path / "folder"
    folder.mkdir()
    db, clients = log_of(folder), Clients(random.Random(dice.random()))
    must_have: set[bytes] = set()
    slowest = 0.0
    for turn in range(1, KILLS + 1):
        server, stop = start(folder), threading.Event()
        server.wait_until_up()
        began = time.monotonic()
        must_have |= {digest for digest in wait_until_equal(db, folder).values() if digest is not None}
        slowest = max(slowest, time.monotonic() - began)
        working = threading.Thread(target=programs, args=(folder, random.Random(dice.random()), stop))
        working.start()
        try:
            asyncio.run(clients.work(server, dice.uniform(0, LONGEST)))
            if dice.random() < 0.5:  # programs go on while nobody watches
                time.sleep(0.1)
        finally:
            stop.set()
            working.join()
        _, complaints = server.process.communicate(timeout=PATIENCE)
        assert [line for line in complaints.splitlines() if EXPECTED not in line] == []
        info_file(db).unlink(missing_ok=True)
        assert verify(db, lambda stage, done, total: None).problems == []
        assert (must_have | clients.acknowledged) - logged(db)[1] == set()
        if turn % 10 == 0:
            print(f"{turn} kills, {clients.answers} answers, {len(clients.acknowledged)} saved, none lost")
    server = start(folder)
    server.wait_until_up()
    wait_until_equal(db, folder)
    assert server.stop()[0] == 0
    assert clients.acknowledged
    print(
        f"{KILLS} kills, {clients.answers} answers, {len(clients.acknowledged)} bodies saved and"
        f" {len(must_have)} seen on the disk, none lost; at most {slowest:.1f} s until both sides agreed"
    )
