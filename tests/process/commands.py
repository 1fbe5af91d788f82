"""`evstore` in processes of their own, as a person types it; nothing of the tester's environment leaks in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

PATIENCE = 60  # seconds in which a process must have come up, or have ended
TOKEN = "a-token"


def environment(**more: str) -> dict[str, str]:
    """The environment of a test process: without EVSTORE_ variables, and in UTC."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("EVSTORE_")}
    return mine | {"TZ": "UTC", "PYTHONUNBUFFERED": "1"} | more


def evstore(*args: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "evstore", *map(str, args)]
    return subprocess.run(
        command, cwd=cwd, env=environment(**env), capture_output=True, text=True, timeout=PATIENCE
    )


def done(*args: object, cwd: Path) -> str:
    """Run a command that must succeed and complain about nothing; returns what it printed."""
    result = evstore(*args, cwd=cwd)
    assert (result.returncode, result.stderr) == (0, ""), result
    return result.stdout


def answer(*args: object, cwd: Path) -> Any:
    """The JSON that a command prints."""
    return json.loads(done(*args, "--json", cwd=cwd))


@dataclass(slots=True)
class Served:
    """A running `evstore serve`."""

    folder: Path
    db: Path
    process: subprocess.Popen[str]
    url: str = ""

    def ask(self, method: str, path: str, data: Any = None) -> Any:
        """The JSON answer of the server at `path`, which is quoted already. Raises HTTPError."""
        body = None if data is None else json.dumps(data).encode()
        headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
        with urlopen(Request(self.url + path, body, headers, method=method), timeout=PATIENCE) as reply:
            return json.loads(reply.read() or b"null")

    def save(self, path: str, text: str) -> None:
        self.ask("PUT", f"api/contents/{path}", {"type": "file", "format": "text", "content": text})

    def text(self, path: str) -> str | None:
        """What a file holds, None when there is none."""
        try:
            return self.ask("GET", f"api/contents/{path}?type=file&format=text")["content"]
        except HTTPError as error:
            if error.code != 404:
                raise
            return None

    def wait_until_up(self) -> None:
        """Returns once the server answers, which it says by its file beside the log."""
        deadline = time.monotonic() + PATIENCE
        info = info_file(self.db)
        while time.monotonic() < deadline and self.process.poll() is None:
            if info.exists() and (found := json.loads(info.read_bytes()))["pid"] == self.process.pid:
                self.url = found["url"]
                return
            time.sleep(0.02)
        self.process.kill()
        raise AssertionError(f"The server did not come up: {self.process.communicate()}")

    def stop(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str, str]:
        """Send the signal once, and wait: exit code, stdout, stderr."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


def info_file(db: Path) -> Path:
    """Where a server says how to reach it."""
    return db.with_name(f"{db.name}.server.json")


def log_of(folder: Path) -> Path:
    """Where the log is, unless --db says so."""
    return folder / ".evstore" / "log.db"


def start(folder: Path, *flags: object, **env: str) -> Served:
    """Start a server on a free port, without waiting for it."""
    command = [sys.executable, "-m", "evstore", "serve", folder, "--no-browser", "--token", TOKEN]
    if "--port" not in flags:
        command += ["--port", "0"]
    process = subprocess.Popen(
        [str(part) for part in (*command, *flags)],
        cwd=folder,
        env=environment(**env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return Served(folder, Path(env.get("EVSTORE_DB", log_of(folder))), process)


@contextmanager
def serving(folder: Path, *flags: object, **env: str) -> Generator[Served]:
    """A server that answers during the block; it must end in peace, if the block has not ended it."""
    server = start(folder, *flags, **env)
    try:
        server.wait_until_up()
        yield server
        if server.process.poll() is None:
            assert server.stop()[::2] == (0, "")
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()
