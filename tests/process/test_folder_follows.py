"""Commands that change the log while no server runs: the folder that it is in follows at once."""

from __future__ import annotations

from pathlib import Path

from tests.process.commands import answer, done, serving


def test_restore_and_undelete_without_a_server(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with serving(folder) as server:
        server.save("a.txt", "one")
        server.save("gone.txt", "gone")
        before = answer("log", cwd=folder)["events"][0]["offset"]
        server.save("a.txt", "two")
        server.ask("DELETE", "api/contents/gone.txt")
        server.stop()
    done("undelete", "gone.txt", cwd=folder)
    assert (folder / "gone.txt").read_text() == "gone"
    (folder / "meanwhile.txt").write_text("on the disk only")
    (folder / "a.txt").write_text("changed by somebody")
    done("restore", "a.txt", "--at", before, cwd=folder)
    assert (folder / "a.txt").read_text() == "changed by somebody"  # the log has not heard of it: it stays
    with serving(folder) as server:
        assert server.text("a.txt") == "changed by somebody"
        assert server.text("meanwhile.txt") == "on the disk only"
        server.stop()
    done("restore", "a.txt", "--at", before, cwd=folder)
    assert (folder / "a.txt").read_text() == "one"


def test_a_folder_that_is_another_one_by_now_is_left_to_the_next_server(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with serving(folder) as server:
        server.save("gone.txt", "gone")
        server.ask("DELETE", "api/contents/gone.txt")
        server.stop()
    (folder / ".evstore" / "folder").write_text("the mark of another")
    done("undelete", "gone.txt", cwd=folder)
    assert not (folder / "gone.txt").exists()
    with serving(folder) as server:
        assert server.text("gone.txt") == "gone"
        server.stop()
    assert (folder / "gone.txt").read_text() == "gone"
