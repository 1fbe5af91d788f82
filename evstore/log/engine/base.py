"""What evstore asks of a database: one writer that gathers commands, many readers on snapshots.

A *command* is a plain function of a transaction. It runs on the engine's own thread, all
of it or nothing, and its caller waits until it is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Row = tuple[Any, ...]
Parameters = Sequence[Any]


class Tx(Protocol):
    """A transaction in progress: what commands and queries work with."""

    def rows(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Run one statement and return all its rows."""
        ...

    def row(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """Run one statement and return its first row, if there is one."""
        ...

    def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """Run one statement; return how many rows it changed."""
        ...

    def many(self, sql: str, parameters: Iterable[Parameters]) -> None:
        """Run one statement for each of `parameters`."""
        ...

    def script(self, sql: str) -> None:
        """Run several statements inside this transaction."""
        ...


@dataclass(frozen=True, slots=True)
class Load:
    """What a database has done since it was opened, and what waits for it."""

    commits: int = 0  # transactions
    commands: int = 0  # that they were made of
    waiting: int = 0  # commands in the queue, or in the transaction that runs
    waiting_bytes: int = 0  # that they hold in memory
    is_writable: bool = False
    size: int = 0  # bytes of its files


class Engine(Protocol):
    """A database that is open."""

    async def write(
        self, command: Callable[[Tx], T], *, weight: int = 0, committed: Callable[[T], None] | None = None
    ) -> T:
        """Run `command` in a transaction and return its result once it is on stable storage.

        `weight`: bytes that the command holds in memory while it waits. `committed` is called on
        the event loop with the result, before anybody is answered, and even when the caller has
        gone. Commands run in the order of their calls; several may share one transaction, and
        one that raises fails alone. Raises Busy when too much is waiting, Full when the disk is,
        ReadOnly after the disk has failed.
        """
        ...

    async def read(self, query: Callable[[Tx], T]) -> T:
        """Run `query` on a snapshot of what is committed; it sees one moment throughout."""
        ...

    def load(self) -> Load:
        """How busy it is."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, then close."""
        ...
