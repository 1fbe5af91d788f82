"""What every part of the benchmarks is told: how long to measure, and where the large log is kept."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import orjson
from rich.console import Console

from bench.table import Row, markdown, show

CACHE = Path(tempfile.gettempdir()) / "evstore-bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Each field is an option of the command line."""

    short: bool  # leave out what takes long and is told only for its own sake
    seconds: float  # of one round
    rounds: int
    revisions: int  # saves whose storage is measured
    events: int  # in the large log
    files: int  # in the large folder
    cache: Path  # where the large log is kept for the next run
    git: bool  # measure git's storage too, which takes minutes
    only: str

    def wants(self, work: str) -> bool:
        return self.only.lower() in work.lower()

    def say(self, text: str) -> None:
        """Progress, and figures that do not fit into the table."""
        print(text, file=sys.stderr, flush=True)


def _stop(number: int, frame: FrameType | None) -> None:
    sys.exit("stopped")  # by way of every `finally`, so that the servers stop, too


Part = Callable[[Settings], list[Row]]


def main(part: Part, description: str | None) -> None:
    """The command line of one part, or of all."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="about a minute for each part: rough figures")
    parser.add_argument("--seconds", type=float, help="of one round (2; short: 0.5)")
    parser.add_argument("--rounds", type=int, help="whose median counts (5; short: 3)")
    parser.add_argument("--revisions", type=int, default=500, help="saves whose storage is measured (500)")
    parser.add_argument("--events", type=int, default=1_000_000, help="in the large log (1,000,000)")
    parser.add_argument("--files", type=int, default=100_000, help="in the large folder (100,000)")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"where the large log is kept ({CACHE})")
    parser.add_argument("--git", action="store_true", help="measure git's storage as well")
    parser.add_argument("--only", default="", help="only what has this in its name")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    parser.add_argument("--markdown", action="store_true", help="print the table for the README")
    given = parser.parse_args()
    rounds, seconds = (3, 0.5) if given.short else (5, 2.0)
    settings = Settings(
        short=given.short,
        seconds=given.seconds or seconds,
        rounds=given.rounds or rounds,
        revisions=given.revisions,
        events=given.events,
        files=given.files,
        cache=given.cache,
        git=given.git,
        only=given.only,
    )
    signal.signal(signal.SIGTERM, _stop)
    rows = part(settings)
    if given.json:
        given.json.write_bytes(orjson.dumps([row.as_json() for row in rows], option=orjson.OPT_INDENT_2))
    if given.markdown:
        print(markdown(rows))
    else:
        show(rows, Console(width=None if sys.stdout.isatty() else 160))
