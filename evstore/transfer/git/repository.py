"""A git repository to read from: the commits of a line, what each changed, the bytes of files, and the tags.

Three processes work together: `rev-list` names the commits of the line, `diff-tree` tells what each
changed against its first parent, with renames, and `cat-file` gives commits and bytes as they are.
(`fast-export` would be one process; but its reader must remember every file that it ever told of, and
what it says of a merge is for those who have the other parents, too.)
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from evstore.core.errors import NotFound
from evstore.core.units import MIB
from evstore.transfer.git import program
from evstore.transfer.git.formats import Commit, Step, TagObject, to_commit, to_steps, to_tag
from evstore.transfer.git.program import GitFailed, Process

BLOCK = 64 * 1024  # bytes of a listing that are read at a time
SKIPPED = MIB  # bytes of an object that are read and dropped at a time


@dataclass(frozen=True, slots=True)
class Tag:
    """A name for a commit; one that has a message of its own says who made it."""

    name: str
    commit: str | None  # None: it names something else
    tagger: str | None = None
    message: str | None = None
    is_signed: bool = False


class Repository:
    """A repository that is open for reading. Close it."""

    def __init__(self, folder: Path) -> None:
        """Raises NotFound when there is no repository in `folder`, and as `is_repository`."""
        self._folder = folder
        if not program.is_repository(folder):
            raise NotFound(f"There is no git repository in {folder}.")
        self._objects = Process(folder, ("cat-file", "--batch"))
        self._open: Object | None = None

    def close(self) -> None:
        self._objects.close()

    def resolve(self, revision: str) -> str:
        """The id of the commit that a branch, a tag or the like means. Raises NotFound."""
        try:
            found = program.run(
                self._folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
            )
        except GitFailed:
            raise NotFound(self._lacks(revision)) from None
        return found.decode().strip()

    def _lacks(self, revision: str) -> str:
        if revision != "HEAD":
            return f"The repository in {self._folder} has no commit called {revision!r}."
        if program.run(self._folder, "for-each-ref", "--count=1"):
            return f"What is checked out in {self._folder} has no commits yet. Choose a branch with --branch."
        return f"The repository in {self._folder} has no commits yet."

    def follows(self, commit: str, newest: str) -> bool:
        """Whether `commit` is on the line of first parents that ends with `newest`."""
        if commit == newest:
            return True
        with closing(Process(self._folder, ("rev-list", "--first-parent", newest, "--"))) as line:
            return any(row.rstrip() == commit.encode() for row in line.stdout)

    def count(self, newest: str, after: str | None) -> int:
        """How many commits `steps` gives."""
        arguments = ("rev-list", "--count", "--first-parent", *_range(newest, after))
        return int(program.run(self._folder, *arguments))

    def steps(self, newest: str, after: str | None) -> Generator[Step]:
        """The commits on the line of first parents up to `newest`, the oldest first, those `after` one if given."""
        listing = ("rev-list", "--reverse", "--first-parent", "--parents", *_range(newest, after))
        comparing = ("diff-tree", "--stdin", "--root", "--always", "--raw", "-r", "-z", "-M", "--no-abbrev")
        with (
            closing(Process(self._folder, listing)) as line,
            closing(Process(self._folder, comparing)) as diff,
        ):
            feeder = threading.Thread(target=_feed, args=(line, diff), name="evstore-git", daemon=True)
            feeder.start()
            last: Step | None = None
            for step in to_steps(_fields(diff)):
                if last is not None:
                    yield last
                last = step
            feeder.join()
            diff.finish()  # first, for when it has failed, nobody empties the other's pipe
            line.finish()
            if last is not None:
                yield last  # only now it is sure to be whole

    def commit(self, commit: str) -> Commit:
        """Raises GitFailed when the repository is damaged."""
        return to_commit(self.open(commit).read())

    def open(self, name: str) -> Object:
        """Begin to read an object. One that was opened before can't be read any further."""
        if self._open is not None:
            self._open.skip()
        self._open = Object(self._objects, name)
        return self._open

    def tags(self) -> Iterator[Tag]:
        """All tags, by name."""
        listed = program.run(self._folder, "for-each-ref", "--format=%(objectname) %(refname)", "refs/tags")
        for line in listed.splitlines():
            name, _, ref = line.decode(errors="backslashreplace").partition(" ")
            yield self._tag(name, ref.removeprefix("refs/tags/"))

    def _tag(self, name: str, called: str) -> Tag:
        found = self.open(name)
        told: TagObject | None = None
        while found.kind == "tag":  # a tag may be of a tag; the outermost has the word
            tag = to_tag(found.read())
            told, name = told or tag, tag.target
            found = self.open(name)
        commit = name if found.kind == "commit" else None
        if told is None:
            return Tag(called, commit)
        return Tag(called, commit, told.tagger, told.message, told.is_signed)


class Object:
    """An object that is being read; `read` is as that of a file."""

    def __init__(self, objects: Process, name: str) -> None:
        self._objects = objects
        try:
            objects.stdin.write(name.encode() + b"\n")
            objects.stdin.flush()
        except BrokenPipeError:
            raise objects.failure() from None
        answer = objects.stdout.readline().split()
        if answer[1:] == [b"missing"]:
            raise GitFailed(f"The repository lacks the object {name}: it is damaged, or a partial clone.")
        if len(answer) != 3:
            raise objects.failure()
        self.kind = answer[1].decode()
        self.size = self._left = int(answer[2])  # bytes

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, all that are left by default; b"" at the end."""
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._objects.stdout.read(wanted)
        if len(data) != wanted:
            raise self._objects.failure()
        self._left -= wanted
        return data

    def skip(self) -> None:
        """What is left of it, and the newline that ends it."""
        while self.read(SKIPPED):
            pass
        self._objects.stdout.read(1)


def _range(newest: str, after: str | None) -> tuple[str, ...]:
    return (newest, "--") if after is None else (newest, f"^{after}", "--")


def _feed(line: Process, diff: Process) -> None:
    """Tell `diff-tree` the commits of the line, each with its first parent alone."""
    with suppress(OSError, ValueError):  # one of them has ended, which its reader tells
        for row in line.stdout:
            diff.stdin.write(b" ".join(row.split()[:2]) + b"\n")
        diff.stdin.close()


def _fields(diff: Process) -> Iterator[bytes]:
    rest = b""
    while block := diff.stdout.read(BLOCK):
        *fields, rest = (rest + block).split(b"\0")
        yield from fields
