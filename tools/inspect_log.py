"""Show a log as it is stored, without a server and without the projections: each event with its payload and hashes,
or with --bodies how each body is stored: `python tools/inspect_log.py .evstore/log.db --after 100`.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from evstore.core.errors import DatabaseError
from evstore.core.events import Digest, Offset, format_id, format_time
from evstore.log import bodies, log, schema
from evstore.log.engine.sqlite.connections import SqliteTx, connect_reader

EVENTS = f'select {log.COLUMNS}, payload_hash, hash from events where "offset" > ? order by "offset" limit ?'
SIZES = "select (select count(*) from {0}), (select coalesce(sum({1}), 0) from {0})"


@click.command(help=__doc__)
@click.argument("db", type=click.Path(path_type=Path))
@click.option("--after", type=int, default=0, help="Begin after this offset.")
@click.option("--limit", type=int, default=20, show_default=True, help="At most so many events or bodies.")
@click.option("--bodies", "show_bodies", is_flag=True, help="Show bodies in place of events.")
def main(db: Path, after: int, limit: int, show_bodies: bool) -> None:
    try:
        with closing(connect_reader(db)) as connection:
            tx = SqliteTx(connection)
            click.echo(f"format {schema.check(tx)}, application id {schema.APPLICATION_ID:#x}")
            summarize(tx)
            if show_bodies:
                list_bodies(tx, limit)
            else:
                list_events(tx, after, limit)
    except DatabaseError as error:
        raise click.ClickException(error.message) from None


def summarize(tx: SqliteTx) -> None:
    head = log.head(tx)
    click.echo(f"head: offset {head.offset}, {format_time(head.at)}, hash {head.hash.hex()}")
    ((number, plain),) = tx.rows(SIZES.format("bodies", "size"))
    click.echo(f"bodies: {number}, {plain:,} bytes as files")
    ((number, stored),) = tx.rows(SIZES.format("chunks", "length(data)"))
    click.echo(f"chunks: {number}, {stored:,} bytes stored")
    for name, offset in tx.rows('select projection, "offset" from watermarks order by projection'):
        click.echo(f"projection {name}: up to offset {offset}")


def list_events(tx: SqliteTx, after: int, limit: int) -> None:
    for offset, entry, at, actor, command, name, version, payload, payload_hash, link in tx.rows(
        EVENTS, (Offset(after), limit)
    ):
        text = payload.decode() if payload is not None else "(erased)"
        click.echo(f"\n{offset}  {format_time(at)}  {name} {version}  by {actor!r}")
        click.echo(f"  entry {format_id(entry)}  command {format_id(command)}")
        click.echo(f"  {text}\n  payload {payload_hash.hex()}\n  chain   {link.hex()}")


def list_bodies(tx: SqliteTx, limit: int) -> None:
    for digest, size, packed in tx.rows(
        "select digest, size, length(manifest) from bodies limit ?", (limit,)
    ):
        parts = bodies.layout(tx, Digest(digest))
        sizes = " ".join(f"{number}:{length}" for number, length in parts[:10])
        more = " ..." if len(parts) > 10 else ""
        click.echo(
            f"\n{digest.hex()}  {size} bytes, {len(parts)} chunks, manifest {packed} bytes\n  {sizes}{more}"
        )


if __name__ == "__main__":
    main()
