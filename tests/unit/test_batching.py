"""Batches: everything once and in order, none larger than it may be but for what is too large by itself."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from evstore.core.batching import in_batches

sizes = st.lists(st.integers(0, 12), max_size=30)


@given(sizes, st.integers(1, 10), st.none() | st.integers(1, 5))
def test_batches(items: list[int], total: int, count: int | None) -> None:
    batches = list(in_batches(items, lambda size: size, total=total, count=count))
    assert [item for batch in batches for item in batch] == items
    for batch in batches:
        assert 0 < len(batch) <= (count or len(items))
        assert sum(batch) <= total or len(batch) == 1
    for batch, following in pairwise(batches):  # none is smaller than it must be
        assert len(batch) == count or sum(batch) + following[0] > total
