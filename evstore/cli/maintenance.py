"""`evstore verify`, `rebuild` and `backup`: looking after the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click

from evstore.cli import access
from evstore.cli.output import count, json_option, print_json, printable, progress
from evstore.cli.path_args import folder_argument, on_log
from evstore.store.integrity import Report
from evstore.store.integrity import verify as look_for_damage
from evstore.transfer.backup import backup as make_backup


@click.command()
@folder_argument
@json_option
@on_log
def verify(db: Path, as_json: bool) -> None:
    """Check the log for damage: every hash, every byte, and every table against a replay."""
    verdict = _verify(db)
    if as_json:
        print_json(asdict(verdict))
    else:
        for problem in verdict.problems:
            click.echo(f"{printable(problem.part)}: {problem.what}")
        click.echo(_summary(verdict))
    if verdict.problems:
        raise SystemExit(1)


def _verify(db: Path) -> Report:
    with progress("Verifying") as advance:
        return look_for_damage(db, lambda stage, done, total: advance(done, total, stage))


def _summary(verdict: Report) -> str:
    looked = ", ".join(
        (
            count(verdict.events, "event"),
            count(verdict.bodies, "body", "bodies"),
            count(verdict.chunks, "chunk"),
        )
    )
    if not verdict.problems:
        return f"All is well: {looked}."
    return f"{count(len(verdict.problems), 'problem')} in {looked}."


@click.command()
@folder_argument
@json_option
@on_log
def rebuild(db: Path, as_json: bool) -> None:
    """Drop every table that follows from the log, and make it anew by a replay."""
    with progress("Replaying the log") as advance:
        offset = asyncio.run(_rebuild(db, lambda offset: advance(offset, offset)))
    if as_json:
        print_json({"offset": offset})
    else:
        click.echo(f"Every table is made anew from the log, up to offset {offset}.")


async def _rebuild(db: Path, progress: Callable[[int], None]) -> int:
    await access.rebuild(db, progress)
    async with access.reading(db) as store:
        return store.offset


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace TARGET when it exists.")
@json_option
@on_log
def backup(db: Path, target: Path, force: bool, as_json: bool) -> None:
    """Copy the log to the file TARGET, also while a server writes it, and verify the copy.

    Put back as .evstore/log.db, or used with --db, the copy is a log like any other.
    """
    with progress("Copying") as advance:
        end = make_backup(db, target, advance, force=force)
    verdict = _verify(target)
    if as_json:
        print_json({"target": str(target), "offset": end.offset, "problems": asdict(verdict)["problems"]})
    elif not verdict.problems:
        click.echo(f"{target} holds the log up to offset {end.offset}. {_summary(verdict)}")
    if verdict.problems:
        raise click.ClickException(f"The copy is damaged, and so the log itself may be. {_summary(verdict)}")
