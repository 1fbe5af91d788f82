"""The git round trip: a repository's history in, and out again: the same log, the same trees."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evstore.core.events import CommitImported
from evstore.core.paths import ContentPath
from evstore.log import log
from evstore.store.integrity import verify
from evstore.store.store import Store
from evstore.transfer.git.git_export import GitExported, export_repository
from evstore.transfer.git.git_import import GitReport
from tests import git_repository as repositories
from tests.git_repository import (
    EXAMPLES,
    FILE,
    PROGRAM,
    Files,
    Step,
    build,
    commit,
    git,
    head,
    line,
    new_repository,
    write,
)
from tests.log_files import files_at, folders_at, quiet, take_in

TOP = ContentPath("")
OURS = Path(__file__).parents[2]
MODULE = "".join(f"def function_{number}():\n    return {number}\n\n\n" for number in range(40))


async def round_trip(folder: Path, repository: Path) -> tuple[GitReport, GitExported]:
    """Take the repository into a new log in `folder`, and write it to `folder / "out"`."""
    store = await Store.open(folder / "log.db")
    try:
        report = await take_in(store, repository)
        exported = await export_repository(store, folder / "out", None, quiet)
    finally:
        await store.close()
    return report, exported


# -- random lines of commits -----------------------------------------------------------

names = st.sampled_from(["a", "b", "c", ".d", "é f"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
contents = st.sampled_from(
    [b"", b"one\n", b"two\n", MODULE.encode(), MODULE.encode() + b"one more\n", b"\xff\0"]
)
blobs = st.tuples(st.sampled_from([FILE, FILE, PROGRAM]), contents)
words = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0<>\n"), max_size=12)
messages = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40)
zones = st.sampled_from(["+0000", "-0330", "+1400"])
authors = st.builds(
    lambda name, at, zone: f"{name} <x@example.org> {at} {zone}", words, st.integers(0, 1 << 33), zones
)


def _possible(files: dict[str, tuple[str, bytes]]) -> Files:
    """Without the files that stand where a folder must be."""
    return {
        path: blob for path, blob in files.items() if not any(one.startswith(f"{path}/") for one in files)
    }


def above(files: Files) -> set[str]:
    """The folders that files need."""
    return {str(folder) for path in files for folder in Path(path).parents if folder.name}


trees = st.dictionaries(paths, blobs, max_size=6).map(_possible)
steps = st.lists(st.builds(Step, files=trees, message=messages, author=authors), min_size=1, max_size=6)


@pytest.mark.timeout(600)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_any_line_of_commits_comes_out_with_the_ids_that_it_had(line_of: list[Step]) -> None:
    """Equal ids mean: equal trees, authors, dates, messages and parents, for each commit."""

    async def check(folder: Path) -> None:
        repository = build(folder / "in", line_of)
        report, exported = await round_trip(folder, repository)
        assert (report.commits, exported.commits, report.skipped) == (len(line_of), len(line_of), [])
        assert line(folder / "out", "main") == line(repository)
        store = await Store.open(folder / "log.db")
        events = await store.read(lambda tx: log.after(tx, 0, 10_000))
        offsets = [one.offset for one in events if isinstance(one.event, CommitImported)]
        for step, offset in zip(line_of, offsets, strict=True):
            assert await files_at(store, offset) == repositories.ids(step.files)
            assert await folders_at(store, offset) == {"", *above(step.files)}
        await store.close()
        assert verify(folder / "log.db", lambda stage, done, total: None).problems == []

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check(Path(folder)))


# -- real ones -------------------------------------------------------------------------


def make_project(folder: Path) -> Path:
    """What a project has: branches that were merged, renames, deletions, tags, programs, names of all kinds."""
    project = new_repository(folder)
    write(project, "README.md", "# A project\n")
    write(project, ".gitignore", "*.pyc\n")
    write(project, "src/module.py", MODULE)
    write(project, "src/run me.sh", "#!/bin/sh\necho hello\n")
    (project / "src/run me.sh").chmod(0o755)
    write(project, 'odd/"quoted" é 日本.txt', "odd\n")
    write(project, "odd/two\nlines", "odder\n")
    commit(project, "Begin\n\nWith a body of\nseveral lines.\n", 0)
    git(project, "tag", "v0.1")
    for number in range(8):
        write(project, "src/module.py", MODULE + f"VERSION = {number}\n")
        write(project, f"data/{number}.bin", bytes(range(256)) * (number + 1))
        commit(project, f"Step {number}\n", number + 1)
    git(project, "checkout", "--quiet", "-b", "feature", "HEAD~3")
    write(project, "src/feature.py", "FEATURE = True\n")
    commit(project, "A feature", 20)
    write(project, "src/feature.py", "FEATURE = False\n")
    commit(project, "No feature", 21)
    git(project, "tag", "off-the-line")
    git(project, "checkout", "--quiet", "main")
    git(project, "merge", "--quiet", "--no-ff", "feature", "-m", "Merge the feature")
    git(project, "tag", "--annotate", "release/v1.0", "-m", "The first release\n\nWith notes.\n")
    git(project, "mv", "src", "package")
    write(project, "package/module.py", MODULE + "MOVED = True\n")
    commit(project, "Rename the package, and change a module", 30)
    git(project, "rm", "--quiet", "-r", "data")
    commit(project, "No data", 31)
    (project / "package/run me.sh").chmod(0o644)
    commit(project, "No program", 32)
    commit(project, "Nothing at all", 33)
    git(project, "tag", "--annotate", "v1.1", "-m", "The second")
    for number in range(8):
        write(project, "package/module.py", MODULE + f"LATER = {number}\n")
        commit(project, f"Later step {number}", 40 + number)
    return project


def check_equal(repository: Path, out: Path) -> None:
    """`git log --stat` and the trees at 20 commits, from the first to the last."""
    assert repositories.story(out, "main") == repositories.story(repository)
    theirs, mine = line(repository), line(out, "main")
    places = sorted({place * (len(mine) - 1) // 19 for place in range(20)})
    assert len(places) == 20
    for place in places:
        assert repositories.tree(out, mine[place]) == repositories.tree(repository, theirs[place])


async def test_a_project_with_all_that_git_has(tmp_path: Path) -> None:
    project = make_project(tmp_path / "in")
    report, exported = await round_trip(tmp_path, project)
    check_equal(project, tmp_path / "out")
    assert (report.commits, report.tags, exported.commits, exported.tags) == (22, 3, 22, 3)
    assert [skipped.path for skipped in report.skipped] == ["the tag off-the-line"]
    theirs, mine = line(project), line(tmp_path / "out", "main")
    tags = {"v0.1", "release/v1.0", "v1.1"}
    assert set(git(tmp_path / "out", "tag").decode().split()) == tags
    for tag in tags:
        commits = head(project, f"{tag}^{{}}"), head(tmp_path / "out", f"{tag}^{{}}")
        assert theirs.index(commits[0]) == mine.index(commits[1])
    form = "--format=%(objecttype) %(taggername) %(taggerdate:raw) %(contents)"
    for tag in ("release/v1.0", "v0.1"):
        assert git(
            tmp_path / "out", "for-each-ref", form.partition(" %(contents")[0], f"refs/tags/{tag}"
        ) == git(project, "for-each-ref", form.partition(" %(contents")[0], f"refs/tags/{tag}")
    assert git(tmp_path / "out", "status", "--porcelain") == b""
    assert (tmp_path / "out" / "odd" / "two\nlines").read_text() == "odder\n"


async def test_our_own_history(tmp_path: Path) -> None:
    """This project's, if it lies here as a repository with its history; there are no merges in it."""
    if not (OURS / ".git").exists():
        pytest.skip("these files are in no git repository")
    git(tmp_path, "clone", "--quiet", "--no-local", "--no-tags", str(OURS), "in")
    if len(line(tmp_path / "in")) < 20:
        pytest.skip("the repository here lacks its history")
    report, _ = await round_trip(tmp_path, tmp_path / "in")
    assert report.skipped == []
    check_equal(tmp_path / "in", tmp_path / "out")
    assert line(tmp_path / "out", "main") == line(tmp_path / "in")
