"""What commands print: tables for people, JSON for programs, progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click
import orjson
from rich.filesize import decimal

if TYPE_CHECKING:
    from evstore.transfer.folder_export import Exported
    from evstore.transfer.folder_import import Report
    from evstore.transfer.git.git_export import GitExported
    from evstore.transfer.git.git_import import GitReport
    from evstore.worktree.disk.file_stat import Skipped

SHOWN = 5  # names of one kind that are spelled out


class Advance(Protocol):
    """Tell a progress bar how much is done and of how much, and of what when that changes."""

    def __call__(self, done: int, total: int, what: str | None = None) -> None: ...


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def print_json(data: Any) -> None:
    try:
        text = orjson.dumps(data, option=orjson.OPT_INDENT_2).decode()
    except TypeError:  # a name on the disk need not be text; Python reads what it writes for that
        text = json.dumps(data, indent=2)
    click.echo(text)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as what is in them. Only on a terminal are they cut to its width."""
    rows = list(rows)
    if not rows:
        click.echo("There is nothing to show.", err=True)
        return
    # here, because many commands print no table
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(printable(str(cell))) for cell in row))
    width = None if sys.stdout.isatty() else 10_000
    Console(width=width, highlight=False, soft_wrap=False).print(table)


def printable(text: str) -> str:
    """`text` without what a terminal would obey: names of files may hold anything."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def local_time(at: int) -> str:
    """µs since 1970 as a person reads it, in local time to the second."""
    return f"{datetime.fromtimestamp(at / 1_000_000):%Y-%m-%d %H:%M:%S}"


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


@contextmanager
def progress(what: str) -> Generator[Advance]:
    """Show on stderr how far something is: call what it yields with how much is done, and of how much.

    Only on a terminal, where it can be wiped away when it is done.
    """
    if not sys.stderr.isatty():
        yield lambda done, total, what=None: None
        return
    # here, for a terminal only
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def advance(done: int, total: int, what: str | None = None) -> None:
            bar.update(task, completed=done, total=total, description=what)

        yield advance


def describe_import(report: Report) -> Iterator[str]:
    """What became of a folder's files, in words; nothing when there were none."""
    if report.files or report.directories:
        folders = f" in {count(report.directories, 'new folder')}" if report.directories else ""
        yield f"Took in {count(report.files, 'file')}{folders} ({decimal(report.bytes)})."
    if report.unchanged:
        yield f"{count(report.unchanged, 'file or folder was', 'files and folders were')} there already."
    yield from describe_skipped(report.skipped)


def describe_git_import(report: GitReport) -> Iterator[str]:
    """What became of a repository's history, in words."""
    if report.commits or report.tags:
        tags = f" and {count(report.tags, 'tag')}" if report.tags else ""
        yield f"Took in {count(report.commits, 'commit')}{tags}."
    else:
        yield "There is nothing new to take in."
    if report.signed:
        them = "it" if report.signed == 1 else "them"
        yield f"Left out {count(report.signed, 'signature')}: evstore can't keep {them} true."
    yield from describe_skipped(report.skipped)


def describe_export(done: Exported, target: Path) -> Iterator[str]:
    """What was written into a folder, in words."""
    folders = f" and {count(done.directories, 'folder')}" if done.directories else ""
    size = decimal(done.bytes)
    yield f"Wrote {count(done.files, 'file')}{folders} ({size}) as of offset {done.offset} to {target}."


def describe_git_export(done: GitExported, target: Path) -> Iterator[str]:
    """What was written into a repository, in words."""
    tags = f" and {count(done.tags, 'tag')}" if done.tags else ""
    yield f"Wrote {count(done.commits, 'commit')}{tags} to {target}, the history up to offset {done.offset}."
    yield from describe_skipped(done.skipped)


def describe_skipped(left_out: Iterable[Skipped]) -> Iterator[str]:
    """What was left out, by reasons."""
    for reason, paths in groupby(sorted(left_out, key=attrgetter("reason", "path")), attrgetter("reason")):
        names = [printable(skipped.path) for skipped in paths]
        shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        yield f"Left out {len(names)}, {reason}: {shown}"
