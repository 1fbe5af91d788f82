"""Many things in batches. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def in_batches(
    items: Iterable[T], size: Callable[[T], int], *, total: int, count: int | None = None
) -> Iterator[list[T]]:
    """`items` in their order, together up to a size of `total`, and no more than `count`; a larger one comes by itself."""
    batch: list[T] = []
    held = 0
    for item in items:
        more = size(item)
        if batch and (held + more > total or len(batch) == count):
            yield batch
            batch, held = [], 0
        batch.append(item)
        held += more
    if batch:
        yield batch
