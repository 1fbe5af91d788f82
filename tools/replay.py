"""Replay a log into a temporary database, without a server: how long it takes, what comes out, and whether the
stored tables are the same. The log itself is not changed: `python tools/replay.py .evstore/log.db`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from evstore.core.errors import DatabaseError
from evstore.log import log
from evstore.log.engine.sqlite.connections import SqliteTx
from evstore.projections import tree
from evstore.store.integrity import beside, differences, replay


@click.command(help=__doc__)
@click.argument("db", type=click.Path(path_type=Path))
def main(db: Path) -> None:
    try:
        with beside(db) as connection:
            connection.execute("begin")
            problems = report(SqliteTx(connection))
    except DatabaseError as error:
        raise click.ClickException(error.message) from None
    sys.exit(bool(problems))


def report(tx: SqliteTx) -> int:
    """Replay and say what came of it; returns in how many ways the stored tables differ."""
    start = time.perf_counter()
    replay(tx, lambda offset: None)
    seconds = time.perf_counter() - start
    events = log.head(tx).offset
    click.echo(f"{events} events in {seconds:.2f} s: {events / seconds:,.0f} events/s")
    for (table,) in tx.rows("select name from main.sqlite_master where type = 'table' order by name"):
        ((rows,),) = tx.rows(f"select count(*) from main.{table}")
        click.echo(f"  {table}: {rows} rows")
    click.echo("now: " + ", ".join(f"{number} {what}" for what, number in tree.count(tx).items()))
    problems = list(differences(tx, "main", "stored"))
    for problem in problems:
        click.echo(f"{problem.part}: {problem.what}")
    click.echo("The stored tables differ." if problems else "The stored tables are the same.")
    return len(problems)


if __name__ == "__main__":
    main()
