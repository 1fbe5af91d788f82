"""`evstore serve` with kernels that nobody uses, and when nobody uses it itself."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.process.commands import PATIENCE, Served, evstore, serving, start


def kernels_end(server: Served) -> bool:
    """Whether all kernels end, without being asked to."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not server.ask("GET", "api/kernels"):
            return True
        time.sleep(0.1)
    return False


def test_idle_kernels_are_culled_and_the_log_says_so(tmp_path: Path) -> None:
    """And bash's kernel.json, which has a field that Jupyter does not know, is no reason for a warning."""
    flags = ("--cull-idle-timeout", 0.5, "--cull-interval", 0.1, "--verbose")
    with serving(tmp_path, *flags, PYTHONWARNINGS="default") as server:
        assert "bash" in server.ask("GET", "api/kernelspecs")["kernelspecs"]
        kernel = server.ask("POST", "api/kernels", {"name": "bash"})["id"]
        assert kernels_end(server)
        code, _, err = server.stop()
    assert code == 0
    [line] = [line for line in err.splitlines() if "is culled" in line]
    assert line.startswith("I ")
    assert f"Kernel {kernel} (bash) is culled: " in line
    assert "codemirror" not in err
    assert [line for line in err.splitlines() if line.startswith(("W ", "E "))] == []


def test_without_verbose_it_says_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, EVSTORE_CULL_IDLE_TIMEOUT="0.5", EVSTORE_CULL_INTERVAL="0.1") as server:
        server.ask("POST", "api/kernels")
        assert kernels_end(server)
        assert server.stop()[::2] == (0, "")


def test_a_server_that_nobody_uses_stops_by_itself(tmp_path: Path) -> None:
    server = start(tmp_path, "--shutdown-no-activity-timeout", 1, "--verbose")
    try:
        _, err = server.process.communicate(timeout=PATIENCE)
    finally:
        server.process.kill()
    assert server.process.returncode == 0
    assert "Nothing runs, and there was no activity for" in err


def test_a_limit_of_kernels(tmp_path: Path) -> None:
    with serving(tmp_path, "--max-kernels", 1, "--kernel-env", "COLOR") as server:
        kernel = server.ask("POST", "api/kernels", {"env": {"COLOR": "red"}})["id"]
        with pytest.raises(OSError, match="403"):
            server.ask("POST", "api/kernels")
        assert server.ask("POST", "api/kernels", {"kernel_id": kernel})["id"] == kernel
        assert server.stop(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize(
    "flags",
    [
        ("--cull-interval", "0"),
        ("--cull-interval", "-1"),
        ("--cull-idle-timeout", "-1"),
        ("--cull-idle-timeout", "soon"),
        ("--max-kernels", "-1"),
        ("--shutdown-no-activity-timeout", "-1"),
    ],
)
def test_flags_that_can_not_be(tmp_path: Path, flags: tuple[str, str]) -> None:
    result = evstore("serve", tmp_path, "--no-browser", *flags, cwd=tmp_path)
    assert result.returncode == 2
    assert flags[0] in result.stderr
    assert "Traceback" not in result.stderr
