"""`evstore show` and `evstore diff`: files and folders as they are, or were."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import orjson
from rich.filesize import decimal

from evstore.cli.access import reading
from evstore.cli.output import json_option, local_time, print_json, print_table
from evstore.cli.path_args import PathType, on_log
from evstore.cli.time_args import HELP, MomentType
from evstore.core import diffing
from evstore.core.entry import Entry
from evstore.core.errors import Invalid
from evstore.core.paths import ContentPath
from evstore.http import models
from evstore.log.log import Moment
from evstore.services.contents import Contents
from evstore.services.history import Compared, History
from evstore.store.store import Store

COLORS = {"+": "green", "-": "red", "@": "cyan"}  # of a line, by how it begins; only shown on a terminal

at_option = click.option("--at", type=MomentType(), metavar="MOMENT", help=f"As of this moment: {HELP}.")


@click.command()
@click.argument("path", type=PathType(), default=".")
@at_option
@json_option
@on_log
def show(db: Path, path: ContentPath, at: Moment | None, as_json: bool) -> None:
    """Print the file PATH, byte for byte, or list the folder PATH (the current one if none is given)."""
    asyncio.run(_show(db, path, at, as_json))


async def _show(db: Path, path: ContentPath, at: Moment | None, as_json: bool) -> None:
    async with reading(db) as store:
        found = await Contents(store).get(path, at)
        as_of = None if at is None else found.offset
        if found.entry.is_directory:
            members = (await Contents(store).list(path, at)).members
            _show_members(found.entry, members, as_of, as_json)
        elif as_json:
            print_json(await _model(store, found.entry, as_of))
        else:
            async for piece in store.stream(found.entry.digest):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()


def _show_members(directory: Entry, members: list[Entry], as_of: int | None, as_json: bool) -> None:
    if as_json:
        listed = [models.without_content(one, models.type_of(one, None), as_of=as_of) for one in members]
        print_json(models.contents(directory, "directory", content=listed, format="json", as_of=as_of))
        return
    rows = [
        ("" if one.is_directory else decimal(one.size or 0), local_time(one.modified), _name(one))
        for one in members
    ]
    print_table(("Size", "Modified", "Name"), rows)


def _name(entry: Entry) -> str:
    return f"{entry.name}/" if entry.is_directory else entry.name


async def _model(store: Store, entry: Entry, as_of: int | None) -> models.Model:
    """The file's model with its content: as text, or as base64 when it is not UTF-8."""
    content, format = models.file_content(entry.path, await store.body(entry.digest), None)
    return models.contents(
        entry, "file", content=orjson.loads(content), format=format, with_hash=True, as_of=as_of
    )


@click.command()
@click.argument("path", type=PathType())
@click.option(
    "--from", "start", type=MomentType(), metavar="MOMENT", required=True, help=f"The older version: {HELP}."
)
@click.option(
    "--to", "end", type=MomentType(), metavar="MOMENT", help="The newer one.  [default: the present one]"
)
@json_option
@on_log
def diff(db: Path, path: ContentPath, start: Moment, end: Moment | None, as_json: bool) -> None:
    """What changed in the file PATH between two moments; of a notebook, cell by cell."""
    asyncio.run(_diff(db, path, start, end, as_json))


async def _diff(db: Path, path: ContentPath, start: Moment, end: Moment | None, as_json: bool) -> None:
    async with reading(db) as store:
        history = History(store)
        if as_json:
            print_json(await history.diff(path, start, end))
            return
        compared = await history.versions_between(path, start, end)
    click.echo("".join(_lines(path, compared)), nl=False)


def _lines(path: ContentPath, compared: Compared) -> Iterator[str]:
    old, new, names = compared
    if path.endswith(".ipynb"):
        try:
            text = diffing.notebook_diff_as_text(old, new, color=sys.stdout.isatty())
        except Invalid:
            pass  # not a notebook after all
        else:
            yield f"--- {names[0]}\n+++ {names[1]}\n{text}" if text else ""
            return
    found = diffing.diff(old, new, notebook=False, names=names)
    if found["format"] == "binary":
        yield "" if old == new else f"{names[0]} and {names[1]} differ; they are no text.\n"
        return
    for line in found["diff"].splitlines(keepends=True):
        yield click.style(line, fg=COLORS.get(line[:1]))
