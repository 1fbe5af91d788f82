"""`evstore status`: whether log and folder are in step."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from shlex import quote

import click
from rich.filesize import decimal

from evstore.cli.access import reading
from evstore.cli.options import defaults_of
from evstore.cli.output import count, json_option, print_json, printable
from evstore.cli.path_args import Place, at_place, folder_argument
from evstore.config import Config
from evstore.worktree.status import Status, compare

# how the reasons for having no versions are called
NOUNS = {"link": "symbolic link", "special file": "special file"}
CALLED = {"leaving": "made by programs", "own": "of evstore's own"}
SHOWN = 20  # paths of one kind that are listed


@click.command()
@folder_argument
@click.option(
    "--max-versioned-size",
    type=click.IntRange(min=0),
    default=defaults_of(Config)["max_versioned_size"],
    envvar="EVSTORE_MAX_VERSIONED_SIZE",
    show_default=True,
    help="As it is given to `evstore serve`.",
)
@json_option
@at_place
def status(place: Place, max_versioned_size: int, as_json: bool) -> None:
    """Compare the log with the files in the folder, and tell what is different. Changes nothing.

    Exit code 1 when they are out of step. Beside a running server, what has just happened may show for a moment.
    """
    place.check_log()
    found = asyncio.run(_compare(place.top, place.db, max_versioned_size))
    if as_json:
        print_json(asdict(found))
    else:
        for line in _describe(found, place.top):
            click.echo(printable(line))
    if not found.in_step:
        raise click.exceptions.Exit(1)


async def _compare(folder: Path, db: Path, max_size: int) -> Status:
    async with reading(db) as store:
        return await store.read(lambda tx: compare(tx, folder, db, max_size=max_size))


def _describe(found: Status, folder: Path) -> Iterator[str]:
    for title, paths in (
        ("On the disk, and not in the log yet:", found.new),
        ("Changed on the disk:", found.changed),
        ("In the log, and gone from the disk:", found.gone),
        ("In the log, and not written to the disk yet:", found.unwritten),
    ):
        if paths:
            yield title
            yield from (f"    {path}" for path in paths[:SHOWN])
            if len(paths) > SHOWN:
                yield f"    and {len(paths) - SHOWN:,} more"
    if found.unreadable:
        yield "Can't be read:"
        yield from (f"    {path or '/'}: {reason}" for path, reason in found.unreadable.items())
    yield from found.ignore_files
    if found.unversioned:
        kinds = ", ".join(_counted(kind, number) for kind, number in sorted(found.unversioned.items()))
        yield f"Without versions: {kinds}."
    if found.trash_files:
        size = decimal(found.trash_bytes)
        yield f"In .evstore/trash, each for 30 days: {count(found.trash_files, 'file')} ({size}). To have the room now:"
        yield f"    rm -r {quote(str(folder / '.evstore' / 'trash'))}"
    if found.in_step:
        what = f"{count(found.files, 'file')} in {count(found.directories, 'folder')}"
        yield f"Log and folder are in step: {what}."
    else:
        yield "`evstore serve` takes in what is on the disk, and writes what is not there."


def _counted(kind: str, number: int) -> str:
    if kind in NOUNS:
        return count(number, NOUNS[kind])
    return f"{number:,} {CALLED.get(kind, kind)}"
