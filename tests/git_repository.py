"""Git repositories for tests, made and looked at with git itself; nothing of the tester's own settings counts."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

FILE, PROGRAM = "100644", "100755"
EXAMPLES = int(os.environ.get("EVSTORE_GIT_EXAMPLES", "25"))  # random histories in one test
Files = Mapping[str, tuple[str, bytes]]  # path -> mode and bytes
ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Ada Lovelace",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Grace Hopper",
    "GIT_COMMITTER_EMAIL": "grace@example.org",
}


def git(folder: Path, *arguments: str, data: bytes = b"", **env: str) -> bytes:
    """What git prints; it must succeed."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], env=outer | ENVIRONMENT | env, input=data, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def git_program() -> str:
    """Where the real one is, for a test that puts another in its place."""
    return git(Path("/"), "--exec-path").decode().strip() + "/git"


def new_repository(folder: Path) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    return folder


def commit(folder: Path, message: str, minute: int = 0, *options: str) -> str:
    """Commit all that lies in the folder, so many minutes after a fixed moment; the commit's id."""
    dates = {f"GIT_{who}_DATE": f"{1_600_000_000 + 60 * minute} +0200" for who in ("AUTHOR", "COMMITTER")}
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--cleanup=verbatim", "-m", message, *options, **dates)
    return head(folder)


def write(folder: Path, path: str, content: str | bytes) -> None:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())


def head(folder: Path, name: str = "HEAD") -> str:
    return git(folder, "rev-parse", name).decode().strip()


def line(folder: Path, name: str = "HEAD") -> list[str]:
    """The ids of the commits on the line of first parents, the oldest first."""
    return git(folder, "rev-list", "--first-parent", "--reverse", name).decode().split()


def tree(folder: Path, name: str) -> dict[str, tuple[str, str]]:
    """All that is in a commit: path -> mode and id of the bytes."""
    rows = git(folder, "ls-tree", "-r", "-z", "--full-tree", name).decode().split("\0")
    found: dict[str, tuple[str, str]] = {}
    for row in filter(None, rows):
        facts, _, path = row.partition("\t")
        mode, _, blob = facts.split()
        found[path] = (mode, blob)
    return found


def blob_id(data: bytes) -> str:
    """What git calls these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def ids(files: Files) -> dict[str, tuple[str, str]]:
    """What `tree` gives for these files."""
    return {path: (mode, blob_id(data)) for path, (mode, data) in files.items()}


def story(folder: Path, name: str = "HEAD") -> str:
    """Who changed what, when and why, along the line of first parents; nothing that depends on ids of commits."""
    form = "--format=%n%an <%ae> %ad%n%cn <%ce> %cd%n%B"
    told = git(folder, "log", "--first-parent", "--stat", "-M", "--date=raw", form, name)
    return told.decode(errors="surrogateescape")


@dataclass
class Step:
    """A commit to be made: all files that it has."""

    files: Files
    message: str = "a message\n"
    author: str = "Ada Lovelace <ada@example.org> 1600000000 +0200"
    tags: list[str] = field(default_factory=list[str])


def build(folder: Path, steps: Iterable[Step]) -> Path:
    """A repository with these commits on one line, as fast as can be."""
    new_repository(folder)
    stream = bytearray()
    for step in steps:
        message = step.message.encode()
        stream += f"commit refs/heads/main\nauthor {step.author}\ncommitter {step.author}\n".encode()
        stream += b"data %d\n%s\ndeleteall\n" % (len(message), message)
        for path, (mode, data) in step.files.items():
            stream += f'M {mode} inline "{path}"\ndata {len(data)}\n'.encode() + data + b"\n"
        stream += b"\n"
        for tag in step.tags:
            stream += f"reset refs/tags/{tag}\nfrom refs/heads/main\n\n".encode()
    git(folder, "fast-import", "--quiet", "--date-format=raw-permissive", data=bytes(stream))
    return folder
