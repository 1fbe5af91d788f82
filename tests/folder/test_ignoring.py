"""What has no versions: held against git, which knows what an ignore file means."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from evstore.core.paths import ContentPath
from evstore.worktree.disk.disk import Disk, FileStat
from evstore.worktree.ignoring.ignore import IGNORE_FILE, Ignore, Kind
from evstore.worktree.ignoring.patterns import MAX_PATTERNS, Patterns

NAMES = ("a", "b", "ab", "a.c", "a b", "b ", "[a", "a]", "-", "!a", "#", "abba", "B", "_")
MEGABYTE = 1_000_000


def p(path: str) -> ContentPath:
    return ContentPath(path)


class Repository:
    """A folder that git and evstore look at, with one set of ignore files for both."""

    def __init__(self, root: Path) -> None:
        self.root = root
        subprocess.run(["git", "init", "-q", root], check=True)

    def make(self, *paths: str) -> None:
        """Empty files, and directories where a path ends with a slash."""
        for path in paths:
            file = self.root / path
            (file if path.endswith("/") else file.parent).mkdir(parents=True, exist_ok=True)
            if not path.endswith("/"):
                file.touch()

    def say(self, patterns: dict[str, bytes]) -> None:
        """Write the ignore files: directory -> content."""
        for old in (*self.root.rglob(IGNORE_FILE), *self.root.rglob(".gitignore")):
            old.unlink()
        for directory, content in patterns.items():
            for name in (IGNORE_FILE, ".gitignore"):
                (self.root / directory / name).write_bytes(content)

    def paths(self) -> list[tuple[str, bool]]:
        """All that is there, and whether it is a directory."""
        found: list[tuple[str, bool]] = []
        for directory, directories, files in os.walk(self.root):
            directories[:] = [name for name in directories if name != ".git"]
            for name in (*directories, *files):
                if not name.startswith("."):
                    file = Path(directory, name)
                    is_directory = file.is_dir() and not file.is_symlink()
                    found.append((str(file.relative_to(self.root)), is_directory))
        return found

    def ignored_by_git(self, paths: list[tuple[str, bool]]) -> set[str]:
        git = subprocess.run(
            ["git", "-c", "core.excludesFile=/dev/null", "check-ignore", "--no-index", "-z", "--stdin"],
            cwd=self.root,
            input=b"".join(os.fsencode(path) + b"\0" for path, _ in paths),
            capture_output=True,
            check=False,
        )
        assert git.returncode in (0, 1), git.stderr
        return {os.fsdecode(path) for path in git.stdout.split(b"\0") if path}

    def ignored_by_us(self, paths: list[tuple[str, bool]]) -> set[str]:
        ignore = Ignore(Disk(self.root), max_size=MEGABYTE)
        return {path for path, is_directory in paths if ignore.why(p(path), is_directory=is_directory)}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


@pytest.mark.parametrize(
    ("patterns", "ignored"),
    [
        ({"": b"*.log\n"}, {"x.log", "d/x.log", "d/e/x.log"}),
        ({"": b"/x.log\n"}, {"x.log"}),
        ({"": b"d/\n"}, {"d", "d/x.log", "d/keep.txt", "d/e", "d/e/x.log", "d/e/keep.txt", "d/e/d"}),
        ({"d": b"d/\n"}, set()),
        ({"": b"e\n!e/keep.txt\n"}, {"d/e", "d/e/x.log", "d/e/keep.txt", "d/e/d"}),
        ({"": b"e/*\n!e/keep.txt\n"}, set()),
        ({"": b"d/e/*\n!keep.txt\n"}, {"d/e/x.log", "d/e/d"}),
        ({"": b"d/**\n!d/keep.txt\n"}, {"d/x.log", "d/e", "d/e/x.log", "d/e/keep.txt", "d/e/d"}),
        ({"": b"**/e/*.log"}, {"d/e/x.log"}),
        ({"": b"d/**/x.log"}, {"d/x.log", "d/e/x.log"}),
        ({"": b"*.log\n", "d": b"!*.log\n"}, {"x.log"}),
        ({"": b"*.log\n", "d": b"!*.log\n", "d/e": b"*.log"}, {"x.log", "d/e/x.log"}),
        ({"d": b"/x.log\n"}, {"d/x.log"}),
        ({"": b"# *.log\n\n   \n\\#x\n"}, set()),
        ({"": b"\xef\xbb\xbfx.log\r\n"}, {"x.log", "d/x.log", "d/e/x.log"}),
        ({"": b"x.log  \n"}, {"x.log", "d/x.log", "d/e/x.log"}),
        ({"": b"\xff\xfe\n*.log\n"}, {"x.log", "d/x.log", "d/e/x.log"}),
        ({"": b"[\nx.[a-l]og\n[z-a]\n\\\n!\n/\n"}, {"x.log", "d/x.log", "d/e/x.log"}),
    ],
)
def test_ignore_files(repository: Repository, patterns: dict[str, bytes], ignored: set[str]) -> None:
    repository.make("x.log", "keep.txt", "d/x.log", "d/keep.txt", "d/e/x.log", "d/e/keep.txt", "d/e/d")
    repository.say(patterns)
    paths = repository.paths()
    assert repository.ignored_by_us(paths) == ignored
    assert repository.ignored_by_git(paths) == ignored


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Directories and files of many names, three levels deep."""
    repository = Repository(tmp_path_factory.mktemp("forest"))
    for first in NAMES[:6]:
        repository.make(*(f"{first}/{second}" for second in NAMES[4:]))
        for second in NAMES[:4]:
            repository.make(*(f"{first}/{second}/{third}" for third in NAMES))
    repository.make(*NAMES[6:])
    return repository


SETS = (
    "[ab]",
    "[!a]",
    "[^b]",
    "[a-b]",
    "[b-a]",
    "[]a]",
    "[a-]",
    "[\\]]",
    "[a/b]",
    "[[:alpha:]]",
    "[[:odd:]]",
    "[[:]",
)
STARS = ("**", "/**/", "**/", "/**", "***", "**\\/")
pieces = st.sampled_from([*"ab*?/! .-]#cB\\[\r\t", *SETS, *STARS, "\\a", "\\*", "\\ "])
lines = st.lists(pieces, min_size=1, max_size=7).map("".join)
contents = st.lists(lines, min_size=1, max_size=4).map(lambda some: "\n".join(some).encode())


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["", "a", "ab", "a/b"]), contents, min_size=1))
@example({"": b"b/**"})
@example({"": b"*\n!a"})
@example({"": b"/a**"})
@example({"": b"a/b**/b"})
@example({"": b"a*b*b*a"})
@example({"": b"**/a*b/**/*b"})
@example({"": b"a\n!a/"})
@example({"": b"ab/a/"})
def test_as_git_does(forest: Repository, patterns: dict[str, bytes]) -> None:
    forest.say(patterns)
    paths = forest.paths()
    assert forest.ignored_by_us(paths) == forest.ignored_by_git(paths)


@pytest.mark.parametrize(
    ("path", "is_directory", "size", "kind"),
    [
        ("a.txt", False, 0, None),
        ("", True, 0, None),
        ("d", True, 0, None),
        (".git", True, 0, Kind.HIDDEN),
        (".git/config", False, 0, Kind.HIDDEN),
        ("d/.hidden/x/y", False, 0, Kind.HIDDEN),
        (".evstoreignore", False, 0, Kind.HIDDEN),
        ("__pycache__", True, 0, Kind.LEAVING),
        ("d/node_modules/x/y.js", False, 0, Kind.LEAVING),
        ("venv/lib/python3.11/site-packages/x/y.py", False, 0, Kind.LEAVING),
        ("d/m.pyc", False, 0, Kind.LEAVING),
        ("d/a.txt~", False, 0, Kind.LEAVING),
        ("d/big.csv", False, MEGABYTE, None),
        ("d/big.csv", False, MEGABYTE + 1, Kind.TOO_LARGE),
        ("d", True, MEGABYTE + 1, None),
        ("data", True, 0, Kind.IGNORED),
        ("data/x/y", False, 0, Kind.IGNORED),
        ("__pycache__/x", False, 0, Kind.LEAVING),  # no ignore file takes that back
    ],
)
def test_why_something_has_no_versions(
    tmp_path: Path, path: str, is_directory: bool, size: int, kind: Kind | None
) -> None:
    (tmp_path / IGNORE_FILE).write_text("!__pycache__\n!.git\n/data\n")
    ignore = Ignore(Disk(tmp_path), max_size=MEGABYTE)
    reason = ignore.why(p(path), is_directory=is_directory, size=size)
    assert (reason.kind if reason else None) == kind
    if kind is Kind.IGNORED:
        assert str(reason) == ".evstoreignore names it in line 3"


def test_a_changed_ignore_file_counts_when_it_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    ignore = Ignore(Disk(tmp_path), max_size=MEGABYTE)

    def is_ignored(path: str) -> bool:
        return ignore.why(p(path), is_directory=False) is not None

    assert not is_ignored("d/a.csv") and not ignore.refresh(p("d")) and not ignore.refresh(p(""))
    (tmp_path / "d" / IGNORE_FILE).write_text("*.csv")
    assert not is_ignored("d/a.csv")
    assert ignore.refresh(p("d")) and not ignore.refresh(p("d"))
    assert is_ignored("d/a.csv") and not is_ignored("a.csv")
    (tmp_path / IGNORE_FILE).write_text("d")
    assert ignore.refresh(p("")) and is_ignored("d/other")
    (tmp_path / IGNORE_FILE).unlink()
    assert ignore.refresh(p("")) and not is_ignored("d/other") and is_ignored("d/a.csv")


class Slow(Disk):
    """A disk on which something happens when a certain path is looked at for the first time."""

    def __init__(self, root: Path, path: str, happens: Callable[[], object]) -> None:
        super().__init__(root)
        self._path = path
        self._happens = [happens]

    def look(self, path: ContentPath) -> FileStat | None:
        if path == self._path and self._happens:
            self._happens.pop()()
        return super().look(path)


def test_what_is_decided_while_an_ignore_file_changes(tmp_path: Path) -> None:
    """One thread reads on below a directory whose ignore file another one has found to be new."""
    (tmp_path / "d" / "e").mkdir(parents=True)

    def change() -> None:
        (tmp_path / IGNORE_FILE).write_text("d")
        assert ignore.refresh(p(""))

    ignore = Ignore(Slow(tmp_path, f"d/{IGNORE_FILE}", change), max_size=MEGABYTE)
    assert ignore.why(p("a"), is_directory=False) is None
    for path in ("d/e/file", "d/e/file", "d/e", "d"):
        assert ignore.why(p(path), is_directory=path != "d/e/file") is not None, path


def test_an_ignore_file_that_says_the_same_has_not_changed(tmp_path: Path) -> None:
    ignore = Ignore(Disk(tmp_path), max_size=MEGABYTE)
    (tmp_path / IGNORE_FILE).write_text("a")
    assert ignore.why(p("a"), is_directory=False) is not None
    (tmp_path / IGNORE_FILE).unlink()
    (tmp_path / IGNORE_FILE).write_text("a")
    assert not ignore.refresh(p(""))
    (tmp_path / IGNORE_FILE).write_text("b")
    assert ignore.refresh(p(""))
    assert ignore.why(p("a"), is_directory=False) is None


def test_more_directories_than_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the others are forgotten is no reason to miss what changes in them."""
    monkeypatch.setattr("evstore.worktree.ignoring.ignore.MAX_DIRECTORIES", 4)
    ignore = Ignore(Disk(tmp_path), max_size=MEGABYTE)
    (tmp_path / IGNORE_FILE).write_text("a")
    (tmp_path / "late").mkdir()
    for name in ("late", "d1", "d2", "d3", "d4", "d5", "d6"):
        assert ignore.why(p(f"{name}/a"), is_directory=False) is not None
    (tmp_path / IGNORE_FILE).write_text("b")
    (tmp_path / "late" / IGNORE_FILE).write_text("c")
    assert ignore.refresh(p("")) and ignore.refresh(p("late"))
    for name in ("late", "d1", "d2", "d3", "d4", "d5", "d6"):
        assert ignore.why(p(f"{name}/a"), is_directory=False) is None
    assert ignore.why(p("late/c"), is_directory=False) is not None
    assert not ignore.refresh(p("")) and not ignore.refresh(p("late"))


@pytest.mark.parametrize(
    "make",
    [
        lambda at: at.mkdir(),
        lambda at: os.mkfifo(at),
        lambda at: at.symlink_to(at.with_name("patterns")),
        lambda at: at.symlink_to("/dev/zero"),
    ],
    ids=["directory", "pipe", "link", "device"],
)
def test_an_ignore_file_that_is_no_file_says_nothing(tmp_path: Path, make: Callable[[Path], None]) -> None:
    (tmp_path / "patterns").write_text("*")
    make(tmp_path / IGNORE_FILE)
    ignore = Ignore(Disk(tmp_path), max_size=MEGABYTE)
    assert ignore.why(p("a.txt"), is_directory=False) is None


@pytest.mark.parametrize(
    ("content", "first"),
    [
        (b"".join(b"name%d\n" % number for number in range(MAX_PATTERNS + 1)), "name0"),
        (b"".join(b"name%d\n" % number for number in range(200_000)), "name0"),
        (b"# nothing\n" * 100_000 + b"*\n", None),
        (b"name\n" + b"*a" * 10_000, "name"),
    ],
    ids=["patterns", "megabytes", "comments", "one line"],
)
def test_more_patterns_than_can_be_regarded(tmp_path: Path, content: bytes, first: str | None) -> None:
    (tmp_path / IGNORE_FILE).write_bytes(content)
    ignore = Ignore(Disk(tmp_path), max_size=MEGABYTE)
    assert ignore.why(p("a.txt"), is_directory=False) is None
    if first:
        assert ignore.why(p(first), is_directory=False) is not None
    (problem,) = ignore.problems()
    assert IGNORE_FILE in problem and str(tmp_path) not in problem


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 60 + "b", "a" * 255),
        ("a*" * 60 + "b", "a" * 255),
        ("**/a/" * 60 + "b", "a/" * 1200 + "c"),
        ("/a**\\/" * 60 + "b", "a/" * 1200 + "c"),
        ("**/a*a*a*a*a/" * 60 + "b", "/".join(["a" * 250] * 16)),
        ("?*" * 60 + "b", "a" * 255),
        ("[a-z]*" * 60 + "/**/b", "a" * 255 + "/" + "a" * 255),
        ("*?**/" * 60 + "b", "a/" * 1200 + "c"),
    ],
)
def test_patterns_that_take_years_elsewhere(pattern: str, path: str) -> None:
    patterns = Patterns(pattern)
    assert patterns.decide(path, path.rpartition("/")[2], False) is None


def test_very_deep_paths(tmp_path: Path) -> None:
    ignore = Ignore(Disk(tmp_path), max_size=MEGABYTE)
    assert ignore.why(p("/".join("a" * 2000)), is_directory=False) is None
    assert ignore.why(p("/".join("a" * 1000 + "." + "a" * 1000)), is_directory=False) is not None
