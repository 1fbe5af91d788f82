"""`evstore status`: what is out of step between log and folder, beside a server and without."""

from __future__ import annotations

import json
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
    before = sorted(path.name for path in folder.iterdir())
    result = evstore("status", "--json", cwd=folder)
    assert result.stderr == ""
    told = json.loads(result.stdout)
    assert result.returncode == 1
    assert (told["new"], told["changed"], told["gone"]) == (["came.txt"], ["a.txt"], ["new.txt"])
    assert told["unversioned"] == {"hidden": 1, "ignored": 1, "link": 1}
    assert "On the disk, and not in the log yet:\n    came.txt\n" in evstore("status", cwd=folder).stdout
    assert sorted(path.name for path in folder.iterdir()) == before
    with serving(folder) as server:
        assert answer("status", cwd=folder)["new"] == []
        server.stop()


def test_no_log(tmp_path: Path) -> None:
    result = evstore("status", cwd=tmp_path)
    assert result.returncode == 1
    assert "There is no log" in result.stderr
