"""A git repository to read from: the commits of a line, what each changed, the bytes of files, and the tags.

Three processes work together: `rev-list` names the commits of the line, `diff-tree` tells what each
changed against its first parent, with renames, and `cat-file` gives commits and bytes as they are.
(`fast-export` would be one process; but its reader must remember every file that it ever told of, and
what it says of a merge is for those who have the other parents, too.)
"""

from __future__ import annotations

import re
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from evstore.errors import NotFound
from evstore.transfer.git import program
from evstore.transfer.git.program import GitFailed, Process
from evstore.units import MIB

IDENT = re.compile(r"([^<>\n\0]* )?<[^<>\n\0]*> \d+ [+-]\d+")
LAST_RESORT = "ISO-8859-1"  # for text that is not in the encoding that it claims: every byte is some letter
BLOCK = 64 * 1024  # bytes of a listing that are read at a time
SKIPPED = MIB  # bytes of an object that are read and dropped at a time
FILE, PROGRAM, LINK, SUBMODULE = "100644", "100755", "120000", "160000"


class Change(NamedTuple):
    """What a commit did to one path. Modes are git's, in octal; `000000` is none: not there."""

    old_mode: str
    mode: str
    blob: str  # the id of the bytes
    path: bytes
    source: bytes | None = None  # the path that it had before


class Step(NamedTuple):
    """A commit of the line, and what it changed against its first parent."""

    commit: str
    changes: list[Change]


@dataclass(frozen=True, slots=True)
class Commit:
    """Who, when and why. Identities are `Name <email> seconds zone`; `encoding` is None for UTF-8."""

    author: str
    committer: str
    message: str
    encoding: str | None
    is_signed: bool


@dataclass(frozen=True, slots=True)
class Tag:
    """A name for a commit; one that has a message of its own says who made it."""

    name: str
    commit: str | None  # None: it names something else
    tagger: str | None = None
    message: str | None = None


class Repository:
    """A repository that is open for reading. Close it."""

    def __init__(self, folder: Path) -> None:
        """Raises NotFound when there is no repository in `folder`, NotInstalled without git."""
        self._folder = folder
        try:
            program.run(folder, "rev-parse", "--git-dir")
        except GitFailed as failed:
            if "not a git repository" not in failed.message:
                raise  # such as one that belongs to somebody else, about which git has a word to say
            raise NotFound(f"There is no git repository in {folder}.") from None
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
            if revision == "HEAD":
                raise NotFound(f"The repository in {self._folder} has no commits yet.") from None
            raise NotFound(f"The repository in {self._folder} has no commit called {revision!r}.") from None
        return found.decode().strip()

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
            yield from _parse(_fields(diff))
            feeder.join()
            line.finish()
            diff.finish()

    def commit(self, commit: str) -> Commit:
        """Raises GitFailed when the repository is damaged."""
        return _commit(self.open(commit).read())

    def open(self, name: str) -> Object:
        """Begin to read an object. One that was opened before can't be read any further."""
        if self._open is not None:
            self._open.skip()
        self._open = Object(self._objects, name)
        return self._open

    def tags(self) -> Iterator[Tag]:
        """All tags, by name."""
        listed = program.run(self._folder, "for-each-ref", "--format=%(objectname) %(refname)", "refs/tags")
        for line in listed.decode(errors="replace").splitlines():
            name, _, ref = line.partition(" ")
            yield self._tag(name, ref.removeprefix("refs/tags/"))

    def _tag(self, name: str, called: str) -> Tag:
        found = self.open(name)
        tagger: str | None = None
        message: str | None = None
        while found.kind == "tag":  # a tag may be of a tag; the outermost has the word
            headers, text = _split(found.read())
            if message is None:
                message = text.decode(errors="replace")
                tagger = _ident(headers["tagger"].decode(errors="replace")) if "tagger" in headers else None
            name = headers["object"].decode()
            found = self.open(name)
        return Tag(called, name if found.kind == "commit" else None, tagger, message)


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


# -- git's formats -----------------------------------------------------------------------


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


def _parse(fields: Iterator[bytes]) -> Iterator[Step]:
    """What `diff-tree -z` prints: a commit's id, then `:modes ids status`, and one path or two, of each change."""
    commit: str | None = None
    changes: list[Change] = []
    for one in fields:
        if not one.startswith(b":"):
            if commit is not None:
                yield Step(commit, changes)
            commit, changes = one.decode().strip(), []
            continue
        old_mode, mode, _, blob, status = one[1:].decode().split(" ")
        path, source = next(fields), None
        if status[0] in "RC":
            path, source = next(fields), path if status[0] == "R" else None
        changes.append(Change(old_mode, mode, blob, path, source))
    if commit is not None:
        yield Step(commit, changes)


def _split(data: bytes) -> tuple[dict[str, bytes], bytes]:
    """The headers of a commit or a tag, of each name the last, and its message."""
    head, _, message = data.partition(b"\n\n")
    headers: dict[str, bytes] = {}
    for line in head.split(b"\n"):
        if not line.startswith(b" "):  # that is a further line of the header before
            name, _, value = line.partition(b" ")
            headers[name.decode(errors="replace")] = value
    return headers, message


def _commit(data: bytes) -> Commit:
    headers, text = _split(data)
    told = headers["encoding"].decode(errors="replace") if "encoding" in headers else None
    encoding = told if _is_in(data, told or "utf-8") else LAST_RESORT
    codec = encoding or "utf-8"
    return Commit(
        author=_ident(headers.get("author", b"").decode(codec)),
        committer=_ident(headers.get("committer", b"").decode(codec)),
        message=text.decode(codec),
        encoding=encoding,
        is_signed="gpgsig" in headers or "gpgsig-sha256" in headers,
    )


def _is_in(data: bytes, encoding: str) -> bool:
    """Whether `data` is text in that encoding, and would be the same bytes again."""
    try:
        return data.decode(encoding).encode(encoding) == data
    except (LookupError, UnicodeError):
        return False


def _ident(text: str) -> str:
    """`Name <email> seconds zone`, whatever some old program has written in its place."""
    if IDENT.fullmatch(text):
        return text
    name, _, rest = text.partition("<")
    email, _, when = rest.rpartition(">")
    found = re.search(r"(\d+) ([+-]\d{4})", when)
    clean = [re.sub(r"[<>\n\0]", "", part).strip() for part in (name, email)]
    return f"{clean[0]} <{clean[1]}> {f'{found[1]} {found[2]}' if found else '0 +0000'}"
