"""The `git` program, asked about one folder: what it prints, or its complaint in one sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from evstore.core.errors import NotInstalled, Unprocessable

# a git hook or an editor that called us means its own repository (git rev-parse --local-env-vars)
NOT_OURS = frozenset(
    f"GIT_{name}"
    for name in (
        "ALTERNATE_OBJECT_DIRECTORIES",
        "COMMON_DIR",
        "DIR",
        "GRAFT_FILE",
        "IMPLICIT_WORK_TREE",
        "INDEX_FILE",
        "INTERNAL_SUPER_PREFIX",
        "NAMESPACE",
        "OBJECT_DIRECTORY",
        "PREFIX",
        "QUARANTINE_PATH",
        "REPLACE_REF_BASE",
        "SHALLOW_FILE",
        "WORK_TREE",
    )
)


class GitFailed(Unprocessable):
    """git could not do that."""


def command(folder: Path, *arguments: str) -> list[str]:
    """The command line for git in `folder`. Raises NotInstalled."""
    git = shutil.which("git")
    if git is None:
        raise NotInstalled("git is not installed here (Debian: apt-get install git).")
    # a repository may name a program to be started whenever its index is read
    return [git, "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]


def environment(folder: Path) -> dict[str, str]:
    """For git in `folder`: it looks for a repository there and not above, asks nobody, and speaks English."""
    mine = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
    return mine | {
        "GIT_CEILING_DIRECTORIES": str(folder.resolve().parent),
        # what a partial clone lacks is missing: no server is called, nor a program that its settings name
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }


def run(folder: Path, *arguments: str) -> bytes:
    """What git prints. Raises GitFailed with its complaint, NotInstalled when there is no git."""
    done = subprocess.run(
        command(folder, *arguments),
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        start_new_session=True,  # Ctrl-C is for us; what git has begun it ends
    )
    if done.returncode != 0:
        raise GitFailed(complaint(done.stderr, done.returncode))
    return done.stdout


def is_repository(folder: Path) -> bool:
    """Whether there is a repository in just this folder.

    Raises GitFailed for one that git does not touch, such as somebody else's, NotInstalled.
    """
    try:
        run(folder, "rev-parse", "--git-dir")
    except GitFailed as failed:
        if "not a git repository" in failed.message:
            return False
        raise
    return True


def complaint(stderr: bytes, code: int) -> str:
    """What git complains of, in one sentence."""
    lines = [line for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "")
    return f"git failed: {said.partition(': ')[2] or said or f'exit code {code}'}"


class Process:
    """A git process that is talked to through pipes. Close it: it is killed if it still runs then."""

    def __init__(self, folder: Path, arguments: Sequence[str]) -> None:
        self._complaints = TemporaryFile()  # noqa: SIM115 - not a pipe, which nobody would empty
        try:
            self._process = subprocess.Popen(
                command(folder, *arguments),
                env=environment(folder),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                start_new_session=True,  # Ctrl-C is for us, who then end it
            )
        except BaseException:
            self._complaints.close()
            raise
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.stdin: IO[bytes] = self._process.stdin
        self.stdout: IO[bytes] = self._process.stdout

    def failure(self) -> GitFailed:
        """Why it does not go on."""
        with suppress(BrokenPipeError):
            self.stdin.close()  # if it still runs it has nothing more to wait for
        code = self._process.wait()
        self._complaints.seek(0)
        return GitFailed(complaint(self._complaints.read(), code))

    def finish(self) -> None:
        """Close its stdin and wait for its end. Raises GitFailed unless it is content."""
        try:
            self.stdin.close()
        except BrokenPipeError:
            raise self.failure() from None
        if self._process.wait() != 0:
            raise self.failure()

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pipe in (self.stdin, self.stdout):
            with suppress(BrokenPipeError):
                pipe.close()
        self._complaints.close()
