"""kill -9 at random moments under load: what was acknowledged is there afterwards, byte for byte.

Several clients save, upload, rename and delete at once, each in a folder of its own, and note
what the server has acknowledged, with the offset that it gave. Then the server is killed; at
times before it has even come up. `make soak` does that 100 times (EVSTORE_KILLS).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import aiohttp

from evstore.core.paths import ContentPath
from evstore.log import bodies
from evstore.log.engine.sqlite.reader import SqliteReader
from evstore.projections import tree
from evstore.store.integrity import verify
from tests.process.commands import PATIENCE, TOKEN, Served, info_file, log_of, start

KILLS = int(os.environ.get("EVSTORE_KILLS", "6"))
SEED = int(os.environ.get("EVSTORE_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
CLIENTS = 6
FILES = 4  # of each client
LONGEST = 1.2  # seconds of load
EARLY = 0.2  # how often it is killed before it is up

State = bytes | None
"""The sha256 of a file; None: there is none."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """At this offset the file was so: the server has said it."""

    offset: int
    path: str
    state: State


@dataclass(slots=True)
class Client:
    """Somebody who works in a folder of their own, one request after the other."""

    name: str
    dice: random.Random
    ledger: list[Acknowledged] = field(default_factory=list[Acknowledged])
    now: dict[str, State] = field(default_factory=dict[str, State])
    pending: dict[str, State] = field(default_factory=dict[str, State])  # asked for, and not answered

    async def work(self, session: aiohttp.ClientSession) -> None:
        """Go on until the server is gone."""
        await self._ask(session, "PUT", self.name, {"type": "directory"}, {})
        while True:
            path = f"{self.name}/{self.dice.randrange(FILES)} é.txt"
            there = self.now.get(path) is not None
            action = self.dice.choices(("save", "upload", "rename", "delete"), (12, 2, 2, 1))[0]
            if action == "rename" and there:
                await self._rename(session, path)
            elif action == "delete" and there:
                await self._ask(session, "DELETE", path, None, {path: None})
            elif action == "upload":
                await self._upload(session, path)
            else:
                await self._save(session, path)

    async def _save(self, session: aiohttp.ClientSession, path: str) -> None:
        body = self.dice.randbytes(self.dice.choice((0, 10, 3_000, 3_000, 40_000, 300_000)))
        await self._ask(session, "PUT", path, model(body), {path: digest(body)})

    async def _upload(self, session: aiohttp.ClientSession, path: str) -> None:
        body = self.dice.randbytes(90_000)
        for number in (1, 2):
            piece = body[(number - 1) * 30_000 : number * 30_000]
            await self._ask(session, "PUT", path, model(piece) | {"chunk": number}, {})
        await self._ask(session, "PUT", path, model(body[60_000:]) | {"chunk": -1}, {path: digest(body)})

    async def _rename(self, session: aiohttp.ClientSession, path: str) -> None:
        to = f"{self.name}/renamed {self.dice.randrange(1 << 60)}"
        await self._ask(session, "PATCH", path, {"path": to}, {path: None, to: self.now[path]})

    async def _ask(
        self, session: aiohttp.ClientSession, method: str, path: str, data: object, changes: dict[str, State]
    ) -> None:
        self.pending = changes
        async with session.request(method, f"api/contents/{quote(path)}", json=data) as reply:
            await reply.read()
            assert reply.status < 300, (method, path, reply.status, await reply.text())
            offset = int(reply.headers["Evstore-Offset"])
        self.pending = {}
        self.now |= changes
        self.ledger += [Acknowledged(offset, changed, state) for changed, state in changes.items()]


def model(body: bytes) -> dict[str, object]:
    return {"type": "file", "format": "base64", "content": base64.b64encode(body).decode()}


def digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


async def load(server: Served, clients: Sequence[Client], seconds: float) -> list[object]:
    """All clients at once; after `seconds` the server is killed. Returns what each ended with."""
    headers = {"Authorization": f"token {TOKEN}"}
    async with aiohttp.ClientSession(server.url, headers=headers) as session:
        working = [asyncio.create_task(client.work(session)) for client in clients]
        await asyncio.sleep(seconds)
        server.process.kill()
        return await asyncio.gather(*working, return_exceptions=True)


def read_all(db: Path, wanted: Sequence[Acknowledged]) -> list[State]:
    """What the log has for each of `wanted`."""

    def states(tx: object) -> list[State]:
        found: list[State] = []
        for one in wanted:
            entry = tree.entry_at(tx, ContentPath(one.path), one.offset)  # pyright: ignore[reportArgumentType]
            found.append(None if entry is None else digest(bodies.read(tx, entry.digest)))  # pyright: ignore
        return found

    reader = SqliteReader(db)
    try:
        return reader.query(states)
    finally:
        reader.shut()


def check(db: Path, clients: Sequence[Client], known: dict[str, int]) -> None:
    """What was acknowledged since the last check is there, and what was not is whole or not there at all."""
    assert verify(db, lambda stage, done, total: None).problems == []
    for client in clients:
        new = client.ledger[known.get(client.name, 0) :]
        known[client.name] = len(client.ledger)
        assert read_all(db, new) == [one.state for one in new]
        paths = sorted({*client.now, *client.pending})
        found = read_all(db, [Acknowledged(tree.NOW, path, None) for path in paths])
        present = dict(zip(paths, found, strict=True))
        before = {path: client.now.get(path) for path in paths}
        assert present in (before, before | client.pending)
        client.now, client.pending = present, {}


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """Invariant 4."""
    print(f"\nseed {SEED}")
    dice = random.Random(SEED)
    folder = tmp_path / "folder"
    folder.mkdir()
    db = log_of(folder)
    clients = [Client(f"client {number}", random.Random(dice.random())) for number in range(CLIENTS)]
    known: dict[str, int] = {}
    starts: list[float] = []
    for turn in range(1, KILLS + 1):
        server, ends = start(folder), []
        if turn > 1 and dice.random() < EARLY:
            time.sleep(dice.uniform(0, 2))
            server.process.kill()
        else:
            began = time.monotonic()
            server.wait_until_up()
            starts.append(time.monotonic() - began)
            ends = asyncio.run(load(server, clients, dice.uniform(0, LONGEST)))
        _, complaints = server.process.communicate(timeout=PATIENCE)
        assert complaints == ""
        assert all(isinstance(end, aiohttp.ClientError) for end in ends), ends
        info_file(db).unlink(missing_ok=True)
        check(db, clients, known)
        if turn % 10 == 0:
            print(f"{turn} kills, {sum(known.values())} acknowledged, none lost")
    everything = [one for client in clients for one in client.ledger]
    assert read_all(db, everything) == [one.state for one in everything]
    assert len(everything) > KILLS
    print(
        f"{KILLS} kills, {len(everything)} acknowledged changes, none lost; slowest start {max(starts):.1f} s"
    )
    server = start(folder)
    server.wait_until_up()
    assert server.stop()[::2] == (0, "")
