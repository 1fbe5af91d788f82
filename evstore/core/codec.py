"""Event <-> bytes: compact JSON, a schema number for each event name, and upcasters.

A payload holds ids and digests in hex and leaves out what has its default value. Schema
numbers start at 1. When an event's payload changes, its number goes up in SCHEMAS, an
upcaster from the old number joins UPCASTERS (never to leave again), and a sample of the new
payload joins tests/unit/samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, get_args

import orjson

from evstore.core.events import Event, Kind

Payload = dict[str, Any]

EVENT_TYPES: dict[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}
SCHEMAS: dict[str, int] = dict.fromkeys(EVENT_TYPES, 1)
UPCASTERS: dict[tuple[str, int], Callable[[Payload], Payload]] = {}

_HEX = {"EntryId", "EntryId | None", "Digest"}  # annotations of the fields that are bytes


class UnknownEvent(Exception):
    """The log holds an event that this version of evstore does not know."""


def _layout(
    kind: type[Event],
) -> list[tuple[str, Callable[[Any], Any] | None, Callable[[Any], Any] | None, Any]]:
    """For each field of an event class: name, to JSON, from JSON, default."""
    rows: list[tuple[str, Callable[[Any], Any] | None, Callable[[Any], Any] | None, Any]] = []
    for field in fields(kind):
        if field.type in _HEX:
            rows.append((field.name, bytes.hex, bytes.fromhex, field.default))
        elif field.type == "Kind":
            rows.append((field.name, str, Kind, field.default))
        else:
            rows.append((field.name, None, None, field.default))
    return rows


_LAYOUTS = {kind: _layout(kind) for kind in EVENT_TYPES.values()}
_READERS = {
    kind: [(field, from_json) for field, _, from_json, _ in layout if from_json]
    for kind, layout in _LAYOUTS.items()
}


def encode(event: Event) -> tuple[str, int, bytes]:
    """The event's name, the schema number of its payload, and the payload."""
    name = type(event).__name__
    payload: Payload = {}
    for field, to_json, _, default in _LAYOUTS[type(event)]:
        value = getattr(event, field)
        if default is MISSING or value != default:
            payload[field] = to_json(value) if to_json else value
    return name, SCHEMAS[name], orjson.dumps(payload)


def decode(name: str, schema: int, data: bytes) -> Event:
    """The event that `encode` was given, whatever version of evstore wrote it.

    Raises UnknownEvent for a name or a schema number from the future: a projection must
    stop there, for skipping it would show a wrong tree.
    """
    kind = EVENT_TYPES.get(name)
    if kind is None or schema > SCHEMAS[name]:
        raise UnknownEvent(
            f"The log holds {name!r} in schema {schema}: a newer evstore wrote it. Update evstore."
        )
    payload: Payload = orjson.loads(data)
    while step := UPCASTERS.get((name, schema)):
        payload, schema = step(payload), schema + 1
    for field, from_json in _READERS[kind]:
        if field in payload:
            payload[field] = from_json(payload[field])
    return kind(**payload)


def describe(event: Event) -> Payload:
    """The event's fields as clients of the history API see them (`data`)."""
    return {
        field: (to_json(value) if to_json and value is not None else value)
        for field, to_json, _, _ in _LAYOUTS[type(event)]
        if (value := getattr(event, field)) is not None
    }
