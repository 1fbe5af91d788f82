"""Moments as people type them: an offset, a time, or words such as `yesterday 10:00`."""

from __future__ import annotations

from datetime import datetime
from importlib import import_module
from typing import Any, cast

import click

from evstore.log.log import Moment

HELP = "an offset, a time (2026-11-22T10:00, local unless it says its zone) or words ('2 hours ago')"


class MomentType(click.ParamType[Moment]):
    """A click parameter that is a Moment."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Moment:
        text = str(value).strip()
        if text.removeprefix("-").isdecimal():
            return int(text)
        when = parse_time(text)
        if when is None:
            self.fail(f"{text!r} is not a moment: give {HELP}.", param, ctx)
        return when.astimezone()


def parse_time(text: str) -> datetime | None:
    """The time meant by `text`, None when it means none. Without a zone it is local."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass  # not ISO 8601: it may be words
    dateparser = cast("Any", import_module("dateparser"))  # imported late, for it is seldom needed
    return dateparser.parse(text, languages=["en"], settings={"PREFER_DATES_FROM": "past"})
