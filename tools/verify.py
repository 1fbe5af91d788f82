"""Check a log for damage, without a server: `python tools/verify.py .evstore/log.db`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from evstore.core.errors import DatabaseError
from evstore.store.integrity import verify


@click.command(help=__doc__)
@click.argument("db", type=click.Path(path_type=Path))
def main(db: Path) -> None:
    try:
        verdict = verify(db, lambda stage, done, total: None)
    except DatabaseError as error:
        raise click.ClickException(error.message) from None
    for problem in verdict.problems:
        click.echo(f"{problem.part}: {problem.what}")
    click.echo(f"{verdict.events} events, {verdict.bodies} bodies, {verdict.chunks} chunks: ", nl=False)
    click.echo(f"{len(verdict.problems)} problems")
    sys.exit(bool(verdict.problems))


if __name__ == "__main__":
    main()
