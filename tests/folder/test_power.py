"""The power fails: what was saved is there, though the disk of the folder had not written it.

The disk is a file, mounted as one. A copy of that file has just what the disk had got when it was made; what
the system still held in its memory is missing from it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.folder.mounts import mounted
from tests.process.commands import PATIENCE, Served, info_file, log_of, serving

OLD, NEW, NEWER = ("old\n" * 100, "new\n" * 100, "newer\n" * 100)


@contextmanager
def machine(image: Path, at: Path) -> Generator[Path]:
    """The folder of a machine that has been started with this disk."""
    with mounted(at, "-o", "loop", str(image)):
        info_file(log_of(at / "folder")).unlink(missing_ok=True)
        yield at / "folder"


def wait_for(server: Served, path: str, text: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while server.text(path) != text:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def saved_by(server: Served, path: str) -> list[tuple[str, str]]:
    """Who has saved a file, newest first."""
    versions = server.ask("GET", f"api/history/versions/{path}")["versions"]
    return [(one["event"], one["actor"]) for one in versions if one["event"] == "FileSaved"]


@pytest.mark.parametrize("pause", [0.1, 1.5], ids=["at once", "when it was noted"])
def test_a_power_failure_undoes_nothing(tmp_path: Path, pause: float) -> None:
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("there is no mkfs.ext4 to make a disk with")
    image, left = tmp_path / "image", tmp_path / "left"
    with image.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    with machine(image, tmp_path / "before") as folder:
        folder.mkdir()
        for name in ("saved.txt", "twice.txt", "program.txt", "moved.txt", "deleted.txt"):
            (folder / name).write_text(OLD)
        os.sync()
        with serving(folder) as server:
            server.save("twice.txt", NEW)
            server.save("new.txt", NEW)
            (folder / "program.txt").write_text(NEW)
            wait_for(server, "program.txt", NEW)
            time.sleep(pause)
            server.save("saved.txt", NEW)
            server.save("twice.txt", NEWER)
            server.ask("PATCH", "api/contents/moved.txt", {"path": "there.txt"})
            server.save("there.txt", NEW)
            shutil.copyfile(image, left)
    with machine(left, tmp_path / "after") as folder, serving(folder) as server:
        expected = {
            "saved.txt": NEW,
            "twice.txt": NEWER,
            "new.txt": NEW,
            "program.txt": NEW,
            "there.txt": NEW,
            "moved.txt": None,
            "deleted.txt": OLD,
        }
        assert {name: server.text(name) for name in expected} == expected
        assert {name: read(folder / name) for name in expected} == expected
        assert saved_by(server, "twice.txt") == [("FileSaved", "token")] * 2 + [("FileSaved", "import")]
        assert saved_by(server, "new.txt") == [("FileSaved", "token")]


def read(file: Path) -> str | None:
    return file.read_text() if file.exists() else None
