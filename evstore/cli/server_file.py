"""How the other commands find a running server: a file beside the log with its address and token.

It is there as long as the server runs. One that a crash left behind is never believed: it
counts only while the process that it names holds the lock on the log.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

import orjson

from evstore.cli.output import printable
from evstore.core.errors import Locked
from evstore.worktree.disk.folder_lock import FolderLocked, LockOwner, folder_lock


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Where a server of this machine answers, and what it wants to see."""

    url: str  # ends with a slash
    token: str  # "" when it lets everybody in, or only by password
    pid: int

    @property
    def page(self) -> str:
        """The address that lets one in, as it was printed at the start."""
        return self.url + (f"?token={quote(self.token, safe='')}" if self.token else "")

    @classmethod
    def of(cls, db: Path, pid: int | None) -> Self | None:
        """The server of the log `db`, if it is this process; its file may be an older one's."""
        try:
            server = cls(**orjson.loads(info_file(db).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        return server if server.pid == pid else None

    @classmethod
    def behind(cls, locked: Locked, db: Path) -> Self:
        """The server that keeps the log `db` locked. Raises `locked` when it is not a server that does."""
        server = cls.of(db, locked.pid)
        if server is None:
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
def locked_folder(folder: Path, db: Path) -> Generator[None]:
    """Keep every other evstore out of `folder` during the block. Raises Locked, saying who has it and what to do."""
    with ExitStack() as stack:
        try:
            stack.enter_context(folder_lock(folder, db))
        except FolderLocked as error:
            raise Locked(printable(_taken(folder, db, error.holder)), pid=error.pid) from None
        yield


def _taken(folder: Path, db: Path, holder: LockOwner | None) -> str:
    """That another evstore has the folder, and what to do."""
    if holder is None:
        return f"{folder} is in use by another evstore, whose name it hides: perhaps another user's. Stop that one first."
    log = "" if holder.db == str(db) else f", with its log in {holder.db}"
    if holder.host != socket.gethostname():
        who = f"process {holder.pid} on {holder.host}"
        return f"{folder} is in use by another evstore, {who}{log}. Stop that one first."
    server = RunningServer.of(Path(holder.db), holder.pid)
    if server is None:
        who = f"process {holder.pid}"
        return f"{folder} is in use by another evstore, {who}{log}. Try again when it is done, or stop it first: kill {holder.pid}"
    return (
        f"{folder} is served already: {server.page} (process {holder.pid}{log}). "
        f"Go there, or stop that one first: Ctrl-C where it runs, or kill {holder.pid}"
    )


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
    with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(data)
    os.replace(made, path)
