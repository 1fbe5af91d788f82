"""A shell on a pseudo-terminal: the only module that touches ptyprocess, and that sends signals.

The shell leads a session of its own (setsid(2)), in which all is that was started from it, jobs in the
background too. Only what has left that session on purpose (a daemon, tmux) is none of ours any more.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# (ptyprocess comes without types)

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import shutil
import signal
import struct
import sys
import termios
from collections.abc import Callable, Sequence
from pathlib import Path

from ptyprocess import PtyProcess

from evstore.core.errors import CannotStart

TYPE = "xterm-256color"  # what xterm.js, the terminal of all front ends, can do
POLL = 0.02  # seconds between looks at what is left of a session
# What is told to go, and how long it has to do so, in seconds
ENDING = ((signal.SIGHUP, 1.0), (signal.SIGTERM, 1.0), (signal.SIGKILL, 3.0))
GOODBYE = 1.0  # seconds between a shell's closing its terminal and its end
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def login_shell() -> list[str]:
    """The user's shell. A server that was not started from a terminal has not seen /etc/profile and
    the like, so that the shell reads them: the same as in jupyter_server."""
    shell = os.environ.get("SHELL") or shutil.which("sh") or "/bin/sh"
    return [shell] if sys.stdout.isatty() else [shell, "-l"]


class Shell:
    """A running shell, and the other end of its terminal."""

    def __init__(self, process: PtyProcess) -> None:
        self._process = process
        self._session: int = process.pid
        self.fd: int = process.fd
        # readable when the shell has ended; None where there is no such thing
        self.exit_fd = _pidfd(process.pid)
        os.set_blocking(self.fd, False)

    @classmethod
    def start(cls, command: Sequence[str], folder: Path, environment: dict[str, str]) -> Shell:
        """Start `command` in `folder`; this blocks for some milliseconds. Raises CannotStart."""
        try:
            process = PtyProcess.spawn(
                list(command),
                cwd=str(folder),
                env=environment | {"TERM": TYPE},
                preexec_fn=_as_python_found_it,
            )
        except (OSError, ValueError) as error:  # no such program, no pseudo-terminal left
            raise CannotStart(
                f"The terminal's shell could not be started: {error}", short_message="Terminal not started"
            ) from None
        return cls(process)

    def read(self, most: int) -> bytes:
        """At most so many bytes of what it has printed; b"" when there will be no more. Raises BlockingIOError when there is nothing."""
        try:
            return os.read(self.fd, most)
        except OSError as error:
            if error.errno == errno.EIO:  # Linux: nobody has the other end open
                return b""
            raise

    def write(self, data: memoryview) -> int:
        """Type some of `data`; returns how many bytes. Raises BlockingIOError when it takes none now."""
        return os.write(self.fd, data)

    def resize(self, rows: int, columns: int) -> None:
        """Tell the programs in it how much can be seen (SIGWINCH), when that has changed."""
        size = struct.pack("HHHH", rows, columns, 0, 0)
        if fcntl.ioctl(self.fd, termios.TIOCGWINSZ, bytes(8))[:4] != size[:4]:
            fcntl.ioctl(self.fd, termios.TIOCSWINSZ, size)

    async def end(self) -> None:
        """End it and all in its session: ask, ask urgently, kill. Then `close` it."""
        for number, patience in ENDING:
            if not await asyncio.to_thread(self._tell, number):
                return
            await self._until(lambda: not self._members(), patience)

    async def has_left_others(self) -> bool:
        """The terminal is closed: see to it that the shell has ended. True if some that it started run on."""
        if not await self._until(lambda: self._session not in self._members(), GOODBYE):
            await self.end()  # it has closed its terminal and stays: nobody could reach it any more
        return bool(await asyncio.to_thread(self._members))

    async def _until(self, condition: Callable[[], bool], patience: float) -> bool:
        """Wait, for some seconds, until it holds. Returns whether it does."""
        for _ in range(round(patience / POLL)):
            if await asyncio.to_thread(condition):
                return True
            await asyncio.sleep(POLL)
        return False

    def close(self) -> None:
        """Give back the terminal and the process's number. To be called once, when it has ended."""
        self._process.closed = True  # or it would wait for the process, on the event loop
        self._process.fileobj.close()
        if self.exit_fd is not None:
            os.close(self.exit_fd)
            self.exit_fd = None
        self._process.isalive()  # which takes notice of its end, so that no zombie remains
        self._session = -1  # the number may be somebody else's from now on

    def _tell(self, number: signal.Signals) -> set[int]:
        """Send a signal to all in the session. Returns who was there."""
        members = self._members()
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
                if number is signal.SIGHUP:
                    os.kill(pid, signal.SIGCONT)  # or a stopped one would not hear it
        return members

    def _members(self) -> set[int]:
        """The processes of the session that run, and that we may end.

        The shell's number is not given to another process before `close`, so the session is surely ours.
        """
        try:
            pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
        except FileNotFoundError:  # macOS: the shell alone, which passes the signal on to its jobs
            return {self._session} if self._process.isalive() else set()
        return {pid for pid in pids if self._is_member(pid)}

    def _is_member(self, pid: int) -> bool:
        try:
            if os.getsid(pid) != self._session or _is_zombie(pid):
                return False
            os.kill(pid, 0)
        except OSError:  # it is gone, or another user's: `sudo` has taken over
            return False
        return True


def _pidfd(pid: int) -> int | None:
    """Linux says nothing on the terminal of a shell that has ended while something in the background goes on."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # macOS, which does; an old kernel
        return None


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"


def _as_python_found_it() -> None:
    """In the new process: the signals that Python ignores, and shells should not."""
    for number in IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
