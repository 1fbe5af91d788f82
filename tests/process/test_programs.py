"""`evstore serve` with terminals and clusters: its flags for them, and that it leaves none of them behind."""

from __future__ import annotations

import contextlib
import signal
import uuid
from pathlib import Path

import psutil
import pytest

from tests.process.commands import Served, evstore, serving

MARK = "EVSTORE_TEST_PROGRAMS"


def running(mark: str, server: Served) -> list[int]:
    """The processes with this mark in their environment, but for the server's."""
    found: list[int] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it has ended just now, or is somebody else's
            is_marked = process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE
            if is_marked and process.pid != server.process.pid:
                found.append(process.pid)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_terminals_and_clusters(tmp_path: Path, number: signal.Signals) -> None:
    """Invariant 16."""
    mark = uuid.uuid4().hex
    env = {MARK: mark, "IPYTHONDIR": str(tmp_path / "ipython"), "SHELL": "/bin/bash"}
    with serving(tmp_path, **env) as server:
        assert [server.ask("POST", "api/terminals")["name"] for _ in range(2)] == ["1", "2"]
        assert server.ask("POST", "api/clusters/default/start?n=1")["status"] == "running"
        assert len(running(mark, server)) >= 4, "two shells, a controller and an engine"
        code, _, err = server.stop(number)
        left = running(mark, server)
    assert (code, err, left) == (0, "", [])


def test_without_terminals(tmp_path: Path) -> None:
    with serving(tmp_path, "--no-terminals") as server:
        with pytest.raises(OSError, match="404"):
            server.ask("POST", "api/terminals")
        assert server.stop()[::2] == (0, "")
    with serving(tmp_path, EVSTORE_TERMINALS="0") as server, pytest.raises(OSError, match="404"):
        server.ask("GET", "api/terminals")


def test_a_shell_of_ones_own_that_is_ended_when_idle(tmp_path: Path) -> None:
    flags = ("--terminal-shell", "sh -c 'touch it-ran; exec sleep 1000'")
    idle = ("--terminal-cull-idle-timeout", 0.5, "--terminal-cull-interval", 0.1, "--verbose")
    with serving(tmp_path, *flags, *idle) as server:
        server.ask("POST", "api/terminals")
        while server.ask("GET", "api/terminals"):
            pass
        code, _, err = server.stop()
    assert (tmp_path / "it-ran").exists()
    assert code == 0
    assert "Terminal 1 ends: Nobody has used the terminal for long." in err
    assert [line for line in err.splitlines() if line.startswith(("W ", "E "))] == []


@pytest.mark.parametrize(
    "flags",
    [
        ("--terminal-shell", "bash 'unclosed"),
        ("--terminal-cull-interval", "0"),
        ("--terminal-cull-idle-timeout", "-1"),
    ],
)
def test_flags_that_can_not_be(tmp_path: Path, flags: tuple[str, str]) -> None:
    result = evstore("serve", tmp_path, "--no-browser", *flags, cwd=tmp_path)
    assert result.returncode == 2
    assert flags[0] in result.stderr
    assert "Traceback" not in result.stderr
