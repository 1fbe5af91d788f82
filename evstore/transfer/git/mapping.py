"""How the log's words are said in git: who, when, what happened, and names that git allows. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

TOLD = 20  # changes that a message names one by one

# what git takes for its own folder on one disk or another, and has in no tree (is_ntfs_dotgit in git's path.c)
FORBIDDEN = re.compile(r"(\.git|git~1)[ .]*(:.*)?", re.IGNORECASE | re.DOTALL)
# what no name of a tag may contain (git help check-ref-format)
BAD_IN_TAG = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]+|\.\.+|@\{|//+|\.lock(?=/|$)|(?<=/)\.|\.(?=/|$)")


def is_possible(path: str) -> bool:
    """Whether git can have a file at `path`."""
    return not any(FORBIDDEN.fullmatch(name) for name in path.split("/"))


def ident(actor: str, at: int) -> str:
    """An actor of the log at a time (µs since 1970) as `Name <email> seconds zone`."""
    name = "".join(char for char in actor if char.isprintable() and char not in "<>").strip() or "unknown"
    email = re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "unknown"
    return f"{name} <{email}@evstore> {at // 1_000_000} +0000"


def message(changes: Sequence[tuple[str, str]]) -> str:
    """A commit's message from what happened: pairs of a verb and to what, `Save` and `a/b.txt`."""
    lines = [f"{verb} {what if what.isprintable() else ascii(what)}" for verb, what in changes]
    if len(lines) == 1:
        return f"{lines[0]}\n"
    verbs = {verb for verb, _ in changes}
    subject = f"{verbs.pop() if len(verbs) == 1 else 'Change'} {len(lines):,} files"
    more = [f"and {len(lines) - TOLD:,} more"] if len(lines) > TOLD else []
    return "\n".join([subject, "", *lines[:TOLD], *more, ""])


class TagNames:
    """Names for tags, out of any text; one that is taken gets an offset at its end."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._names: set[str] = set()
        self._folders: set[str] = set()  # of names: git can't have both `a` and `a/b`
        for name in taken:
            self._add(name)

    def take(self, text: str, offset: int) -> str:
        """A name that git allows and no tag has yet; `text` itself if it is one."""
        name = text
        while (clean := BAD_IN_TAG.sub("-", name).strip("/").lstrip("-.").rstrip(".")) != name:
            name = clean  # what is cut off may bring something else to the end
        name = name.encode()[:200].decode(errors="ignore").rstrip("/.")
        if name in ("", "@"):
            name = f"checkpoint-{offset}"
        while name in self._names or name in self._folders or self._names.intersection(_above(name)):
            name = f"{name.replace('/', '-')}-{offset}"
        self._add(name)
        return name

    def _add(self, name: str) -> None:
        self._names.add(name)
        self._folders.update(_above(name))


def _above(name: str) -> list[str]:
    """`a` and `a/b` for `a/b/c`."""
    parts = name.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def quoted(path: str) -> bytes:
    """A path as fast-import reads it: in quotes if it must be (git help fast-import, <path>)."""
    raw = path.encode()
    if not any(char in b'"\\\n' for char in raw):
        return raw
    escaped = raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"' + escaped + b'"'
