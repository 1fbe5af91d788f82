"""`evstore status`: what is out of step between log and folder, beside a server and without."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.process.commands import answer, done, evstore, serving


def test_in_step_and_out_of_step(folder: Path) -> None:
    (folder / ".evstoreignore").write_text("scratch/\n")
    with serving(folder) as server:
        server.save("new.txt", "saved")
        out = done("status", cwd=folder)
        assert out.endswith("Log and folder are in step: 5 files in 1 folder.\n")
        server.stop()
    (folder / "a.txt").write_text("other bytes")
    (folder / "came.txt").write_text("came")
    (folder / "new.txt").unlink()
    (folder / "scratch").mkdir()
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "__pycache__").mkdir()
    before = sorted(path.name for path in folder.iterdir())
    result = evstore("status", "--json", cwd=folder)
    assert result.stderr == ""
    told = json.loads(result.stdout)
    assert result.returncode == 1
    assert (told["new"], told["changed"], told["gone"]) == (["came.txt"], ["a.txt"], ["new.txt"])
    assert told["unversioned"] == {"hidden": 1, "ignored": 1, "leaving": 1, "link": 1}
    described = "Without versions: 1 hidden, 1 ignored, 1 made by programs, 1 symbolic link.\n"
    assert described in evstore("status", cwd=folder).stdout
    assert "On the disk, and not in the log yet:\n    came.txt\n" in evstore("status", cwd=folder).stdout
    assert sorted(path.name for path in folder.iterdir()) == before
    with serving(folder) as server:
        assert answer("status", cwd=folder)["new"] == []
        server.stop()


def test_of_a_folder_from_anywhere(folder: Path, tmp_path: Path) -> None:
    with serving(folder):
        pass
    for where in (folder, folder / "sub", "folder"):
        assert "4 files in 1 folder" in done("status", where, cwd=tmp_path)
    assert "4 files in 1 folder" in done("status", cwd=folder / "sub")
    (folder / "a.txt").unlink()
    assert json.loads(evstore("status", folder, "--json", cwd=tmp_path).stdout)["gone"] == ["a.txt"]


def test_a_log_elsewhere(tmp_path: Path) -> None:
    folder, db = tmp_path / "served", tmp_path / "log" / "x.db"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.txt").write_text("a")
    with serving(folder, EVSTORE_DB=str(db)):
        pass
    assert "1 file in 1 folder" in done("status", "--db", db, cwd=folder / "sub")
    assert done("show", "a.txt", "--db", db, cwd=folder / "sub") == "a"
    for command in ("status", "log", "verify"):
        refused = evstore(command, folder, cwd=tmp_path)
        assert refused.returncode == 1
        assert refused.stderr.endswith(f"the folder was last served with --db {db}\n"), command


def test_a_mode_that_has_changed(folder: Path) -> None:
    with serving(folder):
        pass
    (folder / "a.txt").chmod(0o755)
    result = evstore("status", "--json", cwd=folder)
    assert (result.returncode, json.loads(result.stdout)["changed"]) == (1, ["a.txt"])
    with serving(folder):
        pass
    assert answer("status", cwd=folder)["changed"] == []


def test_no_log(tmp_path: Path) -> None:
    result = evstore("status", cwd=tmp_path)
    assert result.returncode == 1
    assert "There is no log" in result.stderr


def test_how_to_empty_the_trash(folder: Path) -> None:
    (folder / ".evstoreignore").write_text("*.tmp\n")
    (folder / "sub" / "x.tmp").write_text("in no version")
    with serving(folder) as server:
        server.ask("DELETE", "api/contents/sub")
        told = done("status", cwd=folder).splitlines()
        assert told[1] == "In .evstore/trash, each for 30 days: 3 files (23 bytes). To have the room now:"
        subprocess.run(told[2], shell=True, check=True)
        assert "trash" not in done("status", cwd=folder)
        server.save("a.txt", "still well")
        server.ask("DELETE", "api/contents/a.txt")
