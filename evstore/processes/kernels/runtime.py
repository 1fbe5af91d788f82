"""What all kernels of a server share: a ZMQ context, and a folder for their sockets and keys."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zmq
import zmq.asyncio
from jupyter_client.kernelspec import KernelSpecManager

from evstore.core.errors import CannotStart

PREFIX = "evstore-kernels-"
SOCKET_NAME = 12  # bytes of a socket's name in the folder


@dataclass(frozen=True, slots=True)
class Runtime:
    """Made for the first kernel, gone with the server."""

    context: zmq.asyncio.Context
    folder: Path  # of connection files and sockets
    transport: str  # ipc or tcp
    specs: KernelSpecManager

    @classmethod
    def make(cls, transport: str, specs: KernelSpecManager) -> Runtime:
        """Raises CannotStart when there is no place for the folder."""
        return cls(zmq.asyncio.Context(), private_folder(), transport, specs)

    def close(self) -> None:
        """Remove everything. All kernels have been stopped before."""
        self.context.destroy(linger=0)
        shutil.rmtree(self.folder, ignore_errors=True)


def private_folder() -> Path:
    """A new folder that only this user can look into (mode 0700), with a path that is short enough.

    The address of a Unix socket has room for about 100 bytes, and some systems have long names
    for their temporary folders. What servers that were killed have left behind is removed.
    """
    for parent in (tempfile.gettempdir(), "/tmp"):
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))
        if len(os.fsencode(folder)) + SOCKET_NAME < zmq.IPC_PATH_MAX_LEN:
            for abandoned in _abandoned(folder.parent):
                shutil.rmtree(abandoned, ignore_errors=True)
            return folder
        folder.rmdir()
    raise CannotStart("There is no folder for temporary files with a path short enough for kernels' sockets.")


def _abandoned(parent: Path) -> Iterator[Path]:
    """Folders of this user's servers that do not run any more."""
    for folder in parent.glob(f"{PREFIX}*-*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        with contextlib.suppress(OSError):  # another one removes it, too
            if pid.isdecimal() and folder.stat().st_uid == os.getuid() and not _is_running(int(pid)):
                yield folder


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
