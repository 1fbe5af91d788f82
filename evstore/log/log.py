"""Append events to the log and read them back.

The hash chain (storage.md 1.7): each event's hash covers the hash before it, its envelope and
the hash of its salted payload. So any later change of the log is found, and yet a payload
can be erased (with its salt) without breaking the chain.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from evstore.core import codec
from evstore.core.errors import DatabaseError, Invalid
from evstore.core.events import Author, EntryId, Event, Offset, Recorded
from evstore.log.engine.base import Row, Tx

Moment = int | datetime  # an offset, or a time with its zone
PAGE = 1000  # events read at a time

COLUMNS = '"offset", entry, at, actor, command, type, schema, payload'
APPEND = f"insert into events ({COLUMNS}, salt, payload_hash, hash) values (?,?,?,?,?,?,?,?,?,?,?)"


def wall_clock() -> int:
    """Now, in µs since 1970."""
    return time.time_ns() // 1000


class Head(NamedTuple):
    """The log's last event; offset 0 when there is none."""

    offset: Offset
    at: int
    hash: bytes


def head(tx: Tx) -> Head:
    row = tx.row('select "offset", at, hash from head')
    if row is None:
        raise DatabaseError(
            "The log has lost its head. Restore a backup, or ask for help before writing to it."
        )
    return Head(*row)


def check_tail(tx: Tx) -> None:
    """Raise DatabaseError when events are missing at the log's end: nothing must be written after a hole."""
    last = head(tx)
    row = tx.row('select "offset", hash from events order by "offset" desc limit 1') or (0, bytes(32))
    if row != (last.offset, last.hash):
        raise DatabaseError(
            f"The log ends at offset {row[0]}, but its head says {last.offset}: its end is damaged or lost. "
            "Nothing is written to it; `evstore verify` tells more, and a backup can be restored."
        )


def append(
    tx: Tx, events: Sequence[tuple[EntryId, Event]], author: Author, clock: Callable[[], int] = wall_clock
) -> list[Recorded]:
    """Add `events` to the end of the log, all or none, and return them with their places.

    Times strictly increase even when the clock steps back.
    """
    offset, at, chain = head(tx)
    recorded: list[Recorded] = []
    rows: list[Row] = []
    for entry, event in events:
        offset, at = Offset(offset + 1), max(clock(), at + 1)
        name, schema, payload = codec.encode(event)
        salt = os.urandom(16)
        payload_hash = hashlib.sha256(salt + payload).digest()
        chain = link(chain, offset, entry, at, author.actor, author.command, name, schema, payload_hash)
        rows.append(
            (
                offset,
                entry,
                at,
                author.actor,
                author.command,
                name,
                schema,
                payload,
                salt,
                payload_hash,
                chain,
            )
        )
        recorded.append(
            Recorded(
                offset=offset, entry=entry, at=at, actor=author.actor, command=author.command, event=event
            )
        )
    tx.many(APPEND, rows)
    tx.execute('update head set "offset" = ?, at = ?, hash = ?', (offset, at, chain))
    return recorded


def link(
    chain: bytes,
    offset: int,
    entry: bytes,
    at: int,
    actor: str,
    command: bytes,
    name: str,
    schema: int,
    payload_hash: bytes,
) -> bytes:
    """The next hash of the chain."""
    text = f"{actor}\0{name}".encode()
    numbers = struct.pack(">QqII", offset, at, schema, len(text))
    return hashlib.sha256(chain + numbers + entry + command + text + payload_hash).digest()


def to_recorded(row: Row) -> Recorded:
    """A row of COLUMNS as what it says."""
    offset, entry, at, actor, command, name, schema, payload = row
    return Recorded(
        offset=offset,
        entry=entry,
        at=at,
        actor=actor,
        command=command,
        event=codec.decode(name, schema, payload),
    )


def after(tx: Tx, offset: int, limit: int = PAGE, *, until: int | None = None) -> list[Recorded]:
    """The events that follow `offset`, oldest first, none past `until`.

    Raises DatabaseError at a gap, which only damage can make: nobody goes on past events that are lost,
    or reads on for ever where pages of the table have got out of order.
    """
    end = until if until is not None else 1 << 62
    sql = f'select {COLUMNS} from events where "offset" > ? and "offset" <= ? order by "offset" limit ?'
    rows = tx.rows(sql, (offset, end, limit))
    if rows and (rows[0][0], rows[-1][0]) != (offset + 1, offset + len(rows)):
        raise DatabaseError(f"Events after offset {offset} are missing: run `evstore verify`.")
    return [to_recorded(row) for row in rows]


def one(tx: Tx, offset: int) -> Recorded | None:
    row = tx.row(f'select {COLUMNS} from events where "offset" = ?', (offset,))
    return to_recorded(row) if row else None


def require(tx: Tx, offset: int) -> Recorded:
    """The event at `offset`, which must exist: offsets have no gaps."""
    found = one(tx, offset)
    if found is None:
        raise DatabaseError(f"The log has no event at offset {offset}: run `evstore verify`.")
    return found


def hash_at(tx: Tx, offset: int) -> bytes:
    """The chain's hash at an offset: no two logs that differ up to there have the same."""
    row = tx.row('select hash from events where "offset" = ?', (offset,))
    if row is None:
        raise DatabaseError(f"The log has no event at offset {offset}: run `evstore verify`.")
    return row[0]


def matching(tx: Tx, offset: int, *, actor: str | None, event: str | None) -> list[Recorded]:
    """The next events past `offset`, oldest first, of one author or one name."""
    sql = f'select {COLUMNS} from events where "offset" > ?1 and (?2 is null or actor = ?2)'
    sql += ' and (?3 is null or type = ?3) order by "offset" limit ?4'
    return [to_recorded(row) for row in tx.rows(sql, (offset, actor, event, PAGE))]


def pages(tx: Tx, offset: int = 0) -> Iterator[list[Recorded]]:
    """The whole log after `offset`, a page at a time."""
    while page := after(tx, offset):
        yield page
        offset = page[-1].offset


def offset_at(tx: Tx, moment: int) -> Offset:
    """The offset of the last event not after `moment` (µs); 0 when the log begins later.

    Times increase with offsets, so this halves its way down and needs no index.
    """
    low, high = 0, head(tx).offset
    while low < high:
        middle = (low + high + 1) // 2
        row = tx.row('select at from events where "offset" = ?', (middle,))
        if row is not None and row[0] <= moment:
            low = middle
        else:
            high = middle - 1
    return Offset(low)


def resolve(tx: Tx, at: Moment) -> Offset:
    """The offset meant by `at`: an offset, or the last event not after a time.

    In the middle of a command it is the command's last event, for its events became true together:
    nobody ever saw the file that was created and not yet saved, or the passing names of a restore.
    Raises Invalid for a moment before the log's first event or after now.
    """
    last = head(tx)
    if isinstance(at, datetime):
        moment = int(at.timestamp() * 1_000_000)
        if moment > max(wall_clock(), last.at):
            raise Invalid(f"at={at.isoformat()} is in the future.")
        at = offset_at(tx, moment)
    if at > last.offset:
        raise Invalid(f"at={at} is in the future: the log's last offset is {last.offset}.")
    if at < 1:
        raise Invalid("at is before the beginning: the log's first event came later, at offset 1.")
    return _end_of_command(tx, at, last.offset)


def _end_of_command(tx: Tx, offset: int, last: int) -> Offset:
    """The last event of the command that the event at `offset` belongs to; a command's events stand together."""

    def command(at: int) -> bytes | None:
        row = tx.row('select command from events where "offset" = ?', (at,))
        return row[0] if row else None

    wanted, step = command(offset), 1
    while offset + step <= last and command(offset + step) == wanted:
        offset, step = offset + step, 2 * step
    while step := step // 2:  # the end is less than `step` events away
        if offset + step <= last and command(offset + step) == wanted:
            offset += step
    return Offset(offset)


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong with the log."""

    offset: int
    what: str


def verify_chain(tx: Tx, progress: Callable[[int], None] = lambda _: None) -> Iterator[Damage]:
    """Recompute every hash; yield what does not fit. `progress` gets the events done so far."""
    expected, previous_at, chain = 0, 0, bytes(32)
    sql = f'select {COLUMNS}, salt, payload_hash, hash from events where "offset" > ? order by "offset" limit {PAGE}'
    while page := tx.rows(sql, (expected,)):
        for offset, entry, at, actor, command, name, schema, payload, salt, payload_hash, stored in page:
            if offset <= expected:
                yield Damage(offset, f"it stands after event {expected}: the table is out of order")
                return  # or this would never end
            if offset != expected + 1:
                yield Damage(offset, f"the events {expected + 1} to {offset - 1} are missing")
            if at <= previous_at:
                yield Damage(offset, "its time is not after the time of the event before it")
            if payload is not None and hashlib.sha256(salt + payload).digest() != payload_hash:
                yield Damage(offset, "its payload has been changed")
            chain = link(chain, offset, entry, at, actor, command, name, schema, payload_hash)
            if chain != stored:
                yield Damage(offset, "its hash does not continue the chain")
                chain = stored  # report one break once, then go on from what is there
            expected, previous_at = offset, at
        progress(expected)
    last = head(tx)
    if (last.offset, last.hash) != (expected, chain):
        yield Damage(expected, f"the log ends here, but its head says offset {last.offset}")
    elif last.at != previous_at:
        yield Damage(expected, "its time is not the one that the log's head says")
