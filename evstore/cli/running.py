"""How the other commands find a running server: a file beside the log with its address and token.

It is there as long as the server runs. One that a crash left behind is never believed: it
counts only while the process that it names holds the lock on the log.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import orjson

from evstore.errors import Locked


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Where a server of this machine answers, and what it wants to see."""

    url: str  # ends with a slash
    token: str  # "" when it lets everybody in, or only by password
    pid: int

    @classmethod
    def behind(cls, locked: Locked, db: Path) -> Self:
        """The server that keeps the log `db` locked. Raises `locked` when it is not a server that does."""
        try:
            server = cls(**orjson.loads(info_file(db).read_bytes()))
        except (OSError, ValueError, TypeError):
            raise locked from None
        if server.pid != locked.pid:
            raise locked
        return server


def info_file(db: Path) -> Path:
    """The file with the address of the server that writes `db`."""
    return db.with_name(f"{db.name}.server.json")


@contextmanager
def announced(db: Path, server: RunningServer) -> Generator[None]:
    """Let other commands find `server` during the block."""
    with private_file(info_file(db), orjson.dumps(asdict(server), option=orjson.OPT_INDENT_2)):
        yield


@contextmanager
def private_file(path: Path, data: bytes) -> Generator[Path]:
    """A file for the owner's eyes only that is there during the block."""
    write_private(path, data)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read (mode 0600), whole from its first moment on."""
    made = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    os.replace(made, path)
