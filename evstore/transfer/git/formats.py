"""What git writes: commits, tags, and lists of changes, as bytes and as values. Pure.

Much of it was written by old and foreign programs: whatever stands there, it becomes something that git
accepts again. (Sources: git help diff-tree, "Raw output format"; git help fast-import, "Date formats")
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

FILE, PROGRAM, LINK, SUBMODULE = "100644", "100755", "120000", "160000"
# no more digits than git can count with
IDENT = re.compile(r"([^<>\n\0]* )?<[^<>\n\0]*> \d{1,18} [+-]\d{1,9}", re.ASCII)
SIGNATURE = re.compile(
    rb"^-----BEGIN (?:PGP SIGNATURE|PGP MESSAGE|SIGNED MESSAGE|SSH SIGNATURE)-----", re.MULTILINE
)
WHEN = re.compile(r"(?<!\S)(\d{1,18})(?: ([+-]\d{4}))?(?!\S)", re.ASCII)
ASCII = bytes(range(0x20, 0x7F)) + b"\n"
LAST_RESORT = "ISO-8859-1"  # for text that is not in the encoding that it claims: every byte is some letter


class Change(NamedTuple):
    """What a commit did to one path. Modes are git's, in octal; `000000` is none: not there."""

    old_mode: str
    mode: str
    blob: str  # the id of the bytes
    path: bytes
    source: bytes | None = None  # the path that it had before


class Step(NamedTuple):
    """A commit of a line, and what it changed against its first parent."""

    commit: str
    changes: list[Change]


@dataclass(frozen=True, slots=True)
class Commit:
    """Who, when and why. Identities are `Name <email> seconds zone`; `encoding` is None for UTF-8."""

    author: str
    committer: str
    message: str
    encoding: str | None = None
    is_signed: bool = False


class TagObject(NamedTuple):
    """What a tag with a message says: of which object it is, who made it and why."""

    target: str
    tagger: str | None
    message: str
    is_signed: bool = False


def to_steps(fields: Iterator[bytes]) -> Iterator[Step]:
    """What `diff-tree -z` prints: a commit's id, then `:modes ids status`, and one path or two, of each change.

    If it was cut off, so is the last step.
    """
    commit: str | None = None
    changes: list[Change] = []
    for one in fields:
        if not one.startswith(b":"):
            if commit is not None:
                yield Step(commit, changes)
            commit, changes = one.decode().strip(), []
            continue
        old_mode, mode, _, blob, status = one[1:].decode().split(" ")
        path, source = next(fields, b""), None
        if status[0] in "RC":
            path, source = next(fields, b""), path if status[0] == "R" else None
        changes.append(Change(old_mode, mode, blob, path, source))
    if commit is not None:
        yield Step(commit, changes)


def to_commit(data: bytes) -> Commit:
    headers, text = _split(data)
    codec = _encoding_of(data, headers)
    return Commit(
        author=to_ident(headers.get("author", b"").decode(codec or "utf-8")),
        committer=to_ident(headers.get("committer", b"").decode(codec or "utf-8")),
        message=text.decode(codec or "utf-8"),
        encoding=codec,
        is_signed="gpgsig" in headers or "gpgsig-sha256" in headers,
    )


def to_tag(data: bytes) -> TagObject:
    """Without its signature, which ends its message: from the last line on that begins one (git's gpg-interface.c)."""
    headers, text = _split(data)
    codec = _encoding_of(data, headers) or "utf-8"
    tagger = to_ident(headers["tagger"].decode(codec)) if "tagger" in headers else None
    signature = max((found.start() for found in SIGNATURE.finditer(text)), default=len(text))
    is_signed = "gpgsig" in headers or "gpgsig-sha256" in headers or signature < len(text)
    return TagObject(headers["object"].decode(), tagger, text[:signature].decode(codec), is_signed)


def to_ident(text: str) -> str:
    """`Name <email> seconds zone`, whatever some old program has written in its place."""
    if IDENT.fullmatch(text):
        return text
    name, _, rest = text.partition("<")
    email, _, when = rest.rpartition(">")
    found = WHEN.search(when)
    clean = [re.sub(r"[<>\n\0]", "", part).strip() for part in (name, email)]
    seconds, zone = found.groups("+0000") if found else ("0", "+0000")
    return f"{clean[0]} <{clean[1]}> {seconds} {zone}"


def _split(data: bytes) -> tuple[dict[str, bytes], bytes]:
    """The headers of a commit or a tag, of each name the last, and its message."""
    head, _, message = data.partition(b"\n\n")
    headers: dict[str, bytes] = {}
    for line in head.split(b"\n"):
        if not line.startswith(b" "):  # that is a further line of the header before
            name, _, value = line.partition(b" ")
            headers[name.decode(errors="replace")] = value
    return headers, message


def _encoding_of(data: bytes, headers: dict[str, bytes]) -> str | None:
    """The encoding in which an object is text, and would be the same bytes again: None for UTF-8."""
    told = headers["encoding"].decode(errors="replace") if "encoding" in headers else None
    codec = told or "utf-8"
    try:
        is_ascii = ASCII.decode(codec) == ASCII.decode()  # or git could not read its own headers
        is_same = data.decode(codec).encode(codec) == data
    except (LookupError, ValueError):  # no such encoding, or no text in it
        return LAST_RESORT
    return told if is_ascii and is_same else LAST_RESORT
