"""Ranges mean what slices mean, for every file and every pair of numbers."""

from __future__ import annotations

from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from evstore.http import conditions

numbers = st.integers(min_value=0, max_value=200) | st.integers(min_value=0)


def read(body: bytes, value: str) -> bytes | None:
    """What is sent for a Range header, None when there is nothing to send."""
    request = make_mocked_request("GET", "/", headers={"Range": value})
    span = conditions.span(request, "tag", 0, len(body))
    if span is None:
        return None
    assert 0 <= span.start <= span.stop <= len(body)
    return body[span.start : span.stop]


@given(st.binary(max_size=100), numbers, numbers)
def test_from_and_to(body: bytes, first: int, last: int) -> None:
    part = body[first : last + 1]
    expected = body if last < first else part or None  # a range that makes no sense is no range
    assert read(body, f"bytes={first}-{last}") == expected


@given(st.binary(max_size=100), numbers)
def test_from_and_the_last(body: bytes, number: int) -> None:
    assert read(body, f"bytes={number}-") == (body[number:] or None)
    assert read(body, f"bytes=-{number}") == ((body[-number:] if number else b"") or None)


@given(st.binary(max_size=100), st.text(st.characters(codec="latin-1", exclude_categories=["Cc"])))
def test_anything_else_is_a_range_or_the_whole(body: bytes, value: str) -> None:
    part = read(body, f"bytes={value}")
    assert part is None or part in body
