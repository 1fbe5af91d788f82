"""Servers to measure: evstore, jupyter_server with its defaults, and aiohttp with nothing behind it.

Each runs in a process of its own, on a free port, over a temporary folder, with nobody's settings.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.client import Connection, Target, request

EVSTORE = (str(Path(sys.executable).with_name("evstore")),)
TOKEN = "bench-token"
PATIENCE = 60.0  # seconds for a server to start, and to stop


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    target: Target
    pid: int
    start: float  # seconds from the process's start to its first answer

    def connect(self) -> Connection:
        return Connection(self.target.port)

    def memory(self) -> int:
        """Bytes of memory that it holds now (RSS)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"process {self.pid} has no memory")

    def cpu(self) -> float:
        """Seconds of CPU time that it has used, those of kernels not counted."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def watches(self) -> int:
        """Directories that it has asked the system to watch."""
        files = Path(f"/proc/{self.pid}/fdinfo").iterdir()
        return sum(file.read_text().count("inotify wd:") for file in files)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def settings(folder: Path) -> dict[str, str]:
    """The environment of a Jupyter user who never changed a setting."""
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JUPYTER", "EVSTORE", "IPYTHON"))
    }
    return kept | {name: str(folder / name.lower()) for name in names}


@contextmanager
def served(
    name: str,
    command: Sequence[str],
    port: int,
    env: Mapping[str, str],
    probe: str = "/api",
    patience: float = PATIENCE,
) -> Generator[Running]:
    """Run `command` until the block ends. Raises RuntimeError, with what it printed, when it does not answer `probe`."""
    target = Target(name, port, TOKEN)
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=dict(env)
        )
        try:
            while not _answers(target, probe):
                if process.poll() is not None or time.perf_counter() > started + patience:
                    output.seek(0)
                    raise RuntimeError(f"{name} did not start:\n{output.read().decode(errors='replace')}")
                time.sleep(0.002)
            yield Running(target, process.pid, time.perf_counter() - started)
        finally:
            stop(process)


def _answers(target: Target, probe: str) -> bool:
    try:
        connection = Connection(target.port)
    except OSError:
        return False
    try:
        return connection.send(request(target, "GET", probe)) < 400
    except OSError:
        return False
    finally:
        connection.close()


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def evstore(
    db: Path | None = None,
    *,
    folder: Path | None = None,
    flags: Sequence[str] = (),
    program: Sequence[str] = EVSTORE,
    patience: float = PATIENCE,
) -> Generator[Running]:
    """`evstore serve` over an empty folder and a new log, or over the log `db`, or over `folder` with the log in it.

    `program` if another is to be run; it gets `patience` seconds for its start.
    """
    with tempfile.TemporaryDirectory(prefix="bench-evstore-") as name:
        base = Path(name)
        (base / "folder").mkdir()
        port = free_port()
        command = [*program, "serve", str(folder or base / "folder"), "--no-browser", "--port", str(port)]
        command += ["--token", TOKEN, *flags]
        if folder is None:
            command += ["--db", str(db or base / "log.db")]
        with served("evstore", command, port, settings(base), "/api/contents?content=0", patience) as running:
            yield running


@contextmanager
def jupyter_server() -> Generator[Running]:
    """`jupyter server` with its defaults over an empty folder."""
    with tempfile.TemporaryDirectory(prefix="bench-jupyter-") as name:
        base = Path(name)
        folder = base / "folder"
        folder.mkdir()
        port = free_port()
        command = [sys.executable, "-m", "jupyter_server", "--no-browser", f"--ServerApp.root_dir={folder}"]
        command += [
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={TOKEN}",
        ]
        if os.geteuid() == 0:
            command.append("--allow-root")
        with served(
            "jupyter_server", command, port, settings(base), probe="/api/contents?content=0"
        ) as running:
            yield running


@contextmanager
def bare() -> Generator[Running]:
    """aiohttp that sends ready bytes, or parses a body with orjson and stores nothing (bench/bare.py)."""
    port = free_port()
    command = [sys.executable, "-m", "bench.bare", str(port)]
    with served("aiohttp alone", command, port, os.environ, probe="/") as running:
        yield running
