"""`evstore import --git` and `evstore export --git`, as a person types them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests import git_repository as repositories
from tests.git_repository import commit, git, line, new_repository, write
from tests.process.commands import answer, done, environment, evstore, log_of, serving


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a notebook, a hidden file, a program, a link, a rename and a tag."""
    project = new_repository(tmp_path / "project")
    write(project, ".gitignore", "*.pyc\n")
    write(project, "a.ipynb", '{"cells": []}\n' + " " * 100)
    write(project, "run.sh", "#!/bin/sh\n")
    (project / "run.sh").chmod(0o755)
    commit(project, "First\n\nWith a body", 0)
    git(project, "mv", "a.ipynb", "b.ipynb")
    (project / "link").symlink_to("run.sh")
    commit(project, "Second", 1)
    git(project, "tag", "v1")
    return project


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def test_in_and_out_again(project: Path, folder: Path, tmp_path: Path) -> None:
    assert done("import", "--git", project, cwd=folder).splitlines() == [
        "Took in 2 commits and 1 tag.",
        "Left out 1, a symbolic link: link",
    ]
    assert done("import", "--git", project, cwd=folder) == "There is nothing new to take in.\n"
    out = tmp_path / "out"
    told = "Wrote 2 commits and 1 tag to {}, the history up to offset 11.\n"
    assert done("export", "--git", out, cwd=folder) == told.format(out)
    git(project, "rm", "--quiet", "link")
    git(project, "commit", "--quiet", "--amend", "--no-edit")
    assert repositories.tree(out, "main") == repositories.tree(project, "main")
    assert (out / "run.sh").stat().st_mode & 0o111
    history = answer("log", "b.ipynb", cwd=folder)["events"]
    assert [one["event"] for one in history] == ["EntryMoved", "FileSaved", "EntryCreated"]
    assert {one["actor"] for one in history} == {"Ada Lovelace"}
    newest = [" ".join(row.split()[3:]) for row in done("log", "-n", 2, cwd=folder).splitlines()[1:]]
    assert newest == [
        "Ada Lovelace TagImported / v1, as of 10",
        f"Ada Lovelace CommitImported / {commits_of(folder)[-1][:10]} Second",
    ]


def test_serving_the_very_repository(project: Path) -> None:
    """Its files have other dates than their commits, and the same bytes: nothing of them is new."""
    done("import", "--git", ".", cwd=project)
    with serving(project) as server:
        told = server.stop()[1]
    assert "2 files and folders were there already." in told
    assert "Took in" not in told
    assert {one["actor"] for one in answer("log", "--event", "FileSaved", cwd=project)["events"]} == {
        "Ada Lovelace"
    }


def test_signatures_are_left_out(project: Path, folder: Path, tmp_path: Path) -> None:
    """Of tags and of commits: they would be of something else."""
    head = git(project, "rev-parse", "HEAD").decode().strip()
    by = "Ada <ada@example.org> 1700000000 +0000"
    signature = "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"
    for name, text in (("signed", f"Said\n{signature}"), ("quoting", f"> {signature}")):
        raw = tmp_path / name
        raw.write_text(f"object {head}\ntype commit\ntag {name}\ntagger {by}\n\n{text}")
        made = git(project, "hash-object", "-t", "tag", "-w", str(raw)).decode().strip()
        git(project, "update-ref", f"refs/tags/{name}", made)
    told = done("import", "--git", project, cwd=folder).splitlines()
    assert told[1] == "Left out 1 signature: evstore can't keep it true."
    done("export", "--git", tmp_path / "out", cwd=folder)
    shown = git(tmp_path / "out", "for-each-ref", "--format=%(refname) %(contents)", "refs/tags").decode()
    assert "refs/tags/signed Said\n" in shown
    assert shown.count("BEGIN SSH SIGNATURE") == 1  # that which is quoted


def test_in_a_folder_that_has_been_served(project: Path, folder: Path) -> None:
    """The files are there at once, and not only after the next start."""
    write(folder, "mine.txt", "mine")
    with serving(folder) as server:
        server.stop()
    write(folder, "new.txt", "left for the next start")
    done("import", "--git", project, "--to", "deep/project", cwd=folder)
    assert sorted(os.listdir(folder / "deep" / "project")) == [".gitignore", "b.ipynb", "run.sh"]
    assert (folder / "deep" / "project" / "run.sh").stat().st_mode & 0o111
    found = json.loads(evstore("status", "--json", cwd=folder).stdout)
    assert (found["new"], found["gone"], found["unwritten"]) == (["new.txt"], [], [])


def commits_of(folder: Path) -> list[str]:
    """The ids that the log has noted, the oldest first."""
    events = answer("log", "--event", "CommitImported", "--limit", 10_000, cwd=folder)["events"]
    return [one["data"]["commit"] for one in reversed(events)]


def test_in_json(project: Path, folder: Path, tmp_path: Path) -> None:
    report = answer("import", "--git", project, "--to", "x/y", "--branch", "main~1", cwd=folder)
    assert report == {
        "commits": 1,
        "tags": 0,
        "signed": 0,
        "skipped": [{"path": "the tag v1", "reason": OFF}],
    }
    written = answer("export", "--git", tmp_path / "out", "--at", 4, cwd=folder)
    assert written == {"offset": 10, "commits": 1, "tags": 0, "skipped": []}
    assert set(repositories.tree(tmp_path / "out", "main")) == {"x/y/.gitignore", "x/y/a.ipynb", "x/y/run.sh"}


OFF = "it names no commit on the line that was taken in"


def test_what_is_done_in_the_browser_is_a_commit_more(project: Path, folder: Path, tmp_path: Path) -> None:
    """The export runs beside the server, and what was exported before is gone on with. Hidden files are not served."""
    done("import", "--git", project, cwd=folder)
    done("export", "--git", tmp_path / "out", cwd=folder)
    with serving(folder) as server:
        shown = server.ask("GET", "api/contents/")["content"]
        assert [member["name"] for member in shown] == ["b.ipynb", "run.sh"]
        assert server.text(".gitignore") is None
        server.save("run.sh", "#!/bin/sh\necho hello\n")
        assert done("export", "--git", tmp_path / "out", cwd=folder).startswith("Wrote 1 commit to ")
        refusal = evstore("import", "--git", project, "--to", "again", cwd=folder)
        assert refusal.returncode == 1
        assert refusal.stderr == (
            f"Error: Another evstore (process {server.process.pid}) is using {log_of(folder)}. "
            "Stop it: a repository's history is taken in without a server.\n"
        )
    told = git(tmp_path / "out", "log", "-1", "--format=%B", "--stat").decode()
    assert told.splitlines()[0] == "Save run.sh"
    assert (tmp_path / "out" / "run.sh").read_text() == "#!/bin/sh\necho hello\n"
    assert (tmp_path / "out" / "run.sh").stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("command", "code", "sentence"),
    [
        ("import --git nowhere", 1, "The folder nowhere does not exist."),
        ("import --git .", 1, "There is no git repository in {folder}."),
        (
            "import --git {project} --branch nowhere",
            1,
            "The repository in {project} has no commit called 'nowhere'.",
        ),
        ("import {project} --branch main", 2, "--branch is for --git."),
        (
            "export --git {project}",
            1,
            "The newest commit on main in {project} is not evstore's: there is nothing to go on from.",
        ),
        ("export --git {tmp}", 1, "{tmp} is not empty, and is no git repository that could be gone on with."),
        (
            "export --git x --path a",
            2,
            "--git writes all there is, into a repository of its own: no --path, no --force.",
        ),
        (
            "export --git x --force",
            2,
            "--git writes all there is, into a repository of its own: no --path, no --force.",
        ),
    ],
)
def test_what_can_not_be_done(
    folder: Path, project: Path, tmp_path: Path, command: str, code: int, sentence: str
) -> None:
    write(folder, "a", "1")
    done("import", ".", cwd=folder)
    names = {"folder": folder, "project": project, "tmp": tmp_path}
    result = evstore(*command.format(**names).split(), cwd=folder)
    assert result.returncode == code
    assert result.stderr.splitlines()[-1] == f"Error: {sentence.format(**names)}"
    assert answer("log", cwd=folder)["head"] == 2


def test_without_git(project: Path, folder: Path, tmp_path: Path) -> None:
    done("import", "--git", project, cwd=folder)
    for command in (("import", "--git", project), ("export", "--git", tmp_path / "out")):
        result = subprocess.run(
            [sys.executable, "-m", "evstore", *map(str, command)],
            cwd=folder,
            env=environment(PATH=str(tmp_path)),
            capture_output=True,
            text=True,
        )
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr == "Error: git is not installed here (Debian: apt-get install git).\n"
    assert not (tmp_path / "out").exists()


def test_killed_in_the_middle(folder: Path, tmp_path: Path) -> None:
    """kill -9 while an import writes, and while an export does; both are done again, and nothing is there twice."""
    files = {f"{number}.txt": (repositories.FILE, os.urandom(2000)) for number in range(40)}
    steps = [
        repositories.Step(files | {"count": (repositories.FILE, b"%d" % number)}) for number in range(3000)
    ]
    project, out = repositories.build(tmp_path / "many", steps), tmp_path / "out"
    kill(folder, lambda: has_events(log_of(folder)), "import", "--git", project)
    taken = len(commits_of(folder))
    assert 0 < taken < len(steps)
    assert done("import", "--git", project, cwd=folder) == f"Took in {len(steps) - taken:,} commits.\n"
    assert commits_of(folder) == line(project)
    kill(folder, lambda: any(out.glob(".git/objects/pack/tmp_pack*")), "export", "--git", out)
    assert git(out, "for-each-ref") == b""
    done("export", "--git", out, cwd=folder)
    assert line(out, "main") == line(project)


@pytest.mark.parametrize("command", ["import", "export"])
def test_ctrl_c(folder: Path, tmp_path: Path, command: str) -> None:
    """It reaches all that the terminal has started; evstore says no more than that it ends."""
    files = {f"{number}.txt": (repositories.FILE, os.urandom(2000)) for number in range(40)}
    steps = [
        repositories.Step(files | {"count": (repositories.FILE, b"%d" % number)}) for number in range(3000)
    ]
    project, out = repositories.build(tmp_path / "many", steps), tmp_path / "out"
    if command == "import":
        interrupt(folder, lambda: has_events(log_of(folder)), "import", "--git", project)
        return
    done("import", "--git", project, cwd=folder)
    interrupt(folder, lambda: any(out.glob(".git/objects/pack/*")), "export", "--git", out)


def test_ctrl_c_at_the_end_of_an_export(project: Path, folder: Path, tmp_path: Path) -> None:
    """The files are still put in their places, so that a later export can go on."""
    out, marker, real = tmp_path / "out", tmp_path / "marker", repositories.git_program()
    script = f'case "$*" in *reset*) touch {marker}; sleep 1;; esac\nexec {real} "$@"\n'
    write(tmp_path / "bin", "git", f"#!/bin/sh\n{script}")
    (tmp_path / "bin" / "git").chmod(0o755)
    done("import", "--git", project, cwd=folder)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    interrupt(folder, marker.exists, "export", "--git", out, PATH=path)
    assert git(out, "status", "--porcelain") == b""
    assert done("export", "--git", out, cwd=folder).startswith("Wrote 0 commits")


def test_ctrl_c_twice(project: Path, folder: Path, tmp_path: Path) -> None:
    """By somebody who does not wait for the end of what git is just asked."""
    marker, real = tmp_path / "marker", repositories.git_program()
    script = f'case "$*" in *rev-list*--reverse*) touch {marker}; sleep 1;; esac\nexec {real} "$@"\n'
    write(tmp_path / "bin", "git", f"#!/bin/sh\n{script}")
    (tmp_path / "bin" / "git").chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    interrupt(folder, marker.exists, "import", "--git", project, times=2, PATH=path)
    assert done("import", "--git", project, cwd=folder).startswith("Took in 2 commits")


@pytest.mark.parametrize("command", ["import --git {tmp}", "import --git {project} --branch nowhere"])
def test_what_fails_begins_no_log(project: Path, folder: Path, tmp_path: Path, command: str) -> None:
    """Somebody stands in the wrong folder: a log that is begun there would be found by all later commands."""
    result = evstore(*command.format(project=project, tmp=tmp_path).split(), cwd=folder)
    assert result.returncode == 1
    assert os.listdir(folder) == []


def interrupt(folder: Path, when: Callable[[], bool], *command: object, times: int = 1, **more: str) -> None:
    """Run a command, press Ctrl-C as soon as `when` is true, and see it end in peace."""
    process = subprocess.Popen(
        [sys.executable, "-m", "evstore", *map(str, command)],
        cwd=folder,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and not when():
        time.sleep(0.001)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.1 * (times - 1))  # or the process would see them as one
    assert process.communicate(timeout=60)[0] == "\nAborted!\n"
    assert process.returncode == 1


def kill(folder: Path, when: Callable[[], bool], *command: object) -> None:
    """Run a command and kill it as soon as `when` is true, which must be before its end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "evstore", *map(str, command)],
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not when():
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL


def has_events(db: Path) -> bool:
    if not db.exists():
        return False
    with closing(sqlite3.connect(f"{db.as_uri()}?mode=ro", uri=True)) as connection:
        try:
            return connection.execute("select count(*) from events").fetchone() != (0,)
        except sqlite3.OperationalError:  # the tables are not there yet
            return False
