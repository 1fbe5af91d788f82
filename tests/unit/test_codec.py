"""Events survive the way to bytes and back, and so does every payload that was ever released."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evstore.core import codec
from evstore.core.events import (
    BodyErased,
    CheckpointCreated,
    CheckpointDeleted,
    CommitImported,
    Digest,
    EntryCreated,
    EntryDeleted,
    EntryId,
    EntryMoved,
    EntryUndeleted,
    Event,
    ExecutableChanged,
    FileRestored,
    FileSaved,
    Kind,
    NotebookTrusted,
    Offset,
    TagImported,
    format_time,
    new_id,
)

SAMPLES = Path(__file__).parent / "samples" / "events.jsonl"

ids = st.binary(min_size=16, max_size=16).map(EntryId)
digests = st.binary(min_size=32, max_size=32).map(Digest)
numbers = st.integers(0, 1 << 60)
names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1)
texts = st.text(st.characters(exclude_categories=("Cs",)))
offsets = numbers.map(Offset)
events = st.one_of(
    st.builds(
        EntryCreated,
        parent=ids,
        name=names,
        kind=st.sampled_from(Kind),
        copied_from=st.none() | ids,
        created=st.none() | numbers,
    ),
    st.builds(FileSaved, digest=digests, size=numbers, trusted=st.booleans(), modified=st.none() | numbers),
    st.builds(EntryMoved, parent=ids, name=names),
    st.builds(EntryDeleted),
    st.builds(EntryUndeleted, parent=ids, name=names),
    st.builds(FileRestored, digest=digests, size=numbers, source=offsets),
    st.builds(CheckpointCreated, label=st.none() | texts),
    st.builds(CheckpointDeleted, checkpoint=offsets),
    st.builds(NotebookTrusted, digest=digests),
    st.builds(BodyErased, digest=digests, reason=names),
    st.builds(ExecutableChanged, executable=st.booleans()),
    st.builds(
        CommitImported,
        commit=names,
        author=texts,
        committer=texts,
        message=texts,
        encoding=st.none() | names,
    ),
    st.builds(TagImported, name=names, source=offsets, tagger=st.none() | texts, message=st.none() | texts),
)


@given(events)
def test_every_event_comes_back_as_it_was(event: Event) -> None:
    assert codec.decode(*codec.encode(event)) == event


def test_there_is_a_sample_of_every_schema_ever_released() -> None:
    """One line per event name and schema number; lines are added, never changed."""
    seen: set[tuple[str, int]] = set()
    for line in SAMPLES.read_text().splitlines():
        sample = json.loads(line)
        event = codec.decode(sample["type"], sample["schema"], json.dumps(sample["payload"]).encode())
        assert repr(event) == sample["event"]
        seen.add((sample["type"], sample["schema"]))
    needed = {(name, schema) for name, newest in codec.SCHEMAS.items() for schema in range(1, newest + 1)}
    assert seen >= needed
    assert set(codec.UPCASTERS) == {(name, schema) for name, schema in needed if schema < codec.SCHEMAS[name]}


def test_every_event_class_has_a_name_in_the_log() -> None:
    assert set(codec.EVENT_TYPES.values()) == set(get_args(Event))


@pytest.mark.parametrize(("name", "schema"), [("FileExploded", 1), ("FileSaved", 99)])
def test_an_event_from_the_future_is_refused(name: str, schema: int) -> None:
    with pytest.raises(codec.UnknownEvent, match="newer evstore"):
        codec.decode(name, schema, b"{}")


def test_ids_are_uuids_of_version_7_in_the_order_of_their_making() -> None:
    import time
    import uuid

    first = new_id()
    time.sleep(0.002)
    second = new_id()
    assert first < second
    assert uuid.UUID(bytes=first).version == 7
    assert uuid.UUID(bytes=first).variant == uuid.RFC_4122


@pytest.mark.parametrize(
    ("at", "text"),
    [(0, "1970-01-01T00:00:00.000000Z"), (1_795_309_648_909_708, "2026-11-22T01:07:28.909708Z")],
)
def test_times_are_rfc_3339(at: int, text: str) -> None:
    assert format_time(at) == text
