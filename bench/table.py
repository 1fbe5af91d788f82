"""What was measured beside what was aimed at, as a table for people, for the README, and as JSON.

python -m bench.table bench.json       the table for the README, from what --json wrote
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

HEADINGS = ("work", "evstore", "jupyter_server", "limit", "ratio", "aim", "met")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line. All numbers are in `unit`.

    `times`: the aim, as a multiple of `theirs` or, for `of_limit`, of `limit`. `aim`: the same, as a
    number. With neither, the line is told for its own sake.
    """

    work: str
    unit: str
    ours: float
    theirs: float | None = None
    limit: float | None = None
    limit_is: str = ""  # what `limit` was measured on
    times: float | None = None
    of_limit: bool = False
    aim: float | None = None
    less: bool = False  # less is better
    note: str = ""

    @property
    def goal(self) -> float | None:
        """The aim in `unit`."""
        if self.times is None:
            return self.aim
        base = self.limit if self.of_limit else self.theirs
        return None if base is None else base * self.times

    @property
    def ratio(self) -> float | None:
        """How many times better than jupyter_server, or, without it, than what the limit was measured on."""
        base = self.theirs if self.theirs is not None else self.limit
        if not base or not self.ours:
            return None
        return base / self.ours if self.less else self.ours / base

    @property
    def verdict(self) -> str:
        """`yes`, by how much it falls short, or nothing when there is no aim."""
        goal = self.goal
        if goal is None:
            return ""
        if self.ours <= goal if self.less else self.ours >= goal:
            return "yes"
        if self.less:
            return f"{self.ours / goal:.2f}x the aim" if goal else "no"
        return f"{self.ours / goal:.0%} of it"

    @property
    def aim_text(self) -> str:
        if self.times is not None:
            return f"{self.times:g}x {'the limit' if self.of_limit else 'jupyter_server'}"
        return (
            "" if self.aim is None else f"{'<' if self.less else ''} {number(self.aim)} {self.unit}".strip()
        )

    def cells(self) -> tuple[str, ...]:
        limit = (
            f"{number(self.limit)} ({self.limit_is})"
            if self.limit is not None and self.limit_is
            else number(self.limit)
        )
        ratio = (
            f"{self.ratio:.2g}x" if self.ratio is not None and self.ratio < 10 else number(self.ratio, "x")
        )
        work = f"{self.work} ({self.note})" if self.note else self.work
        ours = f"{number(self.ours)} {self.unit}"
        return (work, ours, number(self.theirs), limit, ratio, self.aim_text, self.verdict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"goal": self.goal, "ratio": self.ratio, "verdict": self.verdict}


def number(value: float | None, tail: str = "") -> str:
    """Three digits that mean something: 12,300, 410, 4.1, 0.041."""
    if value is None:
        return ""
    if value == 0 or abs(value) >= 100:
        digits = max(0, len(f"{abs(value):.0f}") - 3)
        return f"{round(value, -digits):,.0f}{tail}"
    return f"{value:.3g}{tail}"


def markdown(rows: Iterable[Row]) -> str:
    """The table for the README."""
    lines = [HEADINGS, ("---", *["--:"] * 4, "---", "---"), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def show(rows: Sequence[Row], console: Console) -> None:
    """The table for people."""
    table = Table(*HEADINGS, title="evstore, measured")
    for row in rows:
        cells = row.cells()
        style = {"yes": "green", "": ""}.get(row.verdict, "red")
        table.add_row(*cells[:-1], f"[{style}]{cells[-1]}[/]" if style else cells[-1])
    console.print(table)


def from_json(data: bytes) -> list[Row]:
    """The rows that `as_json` told."""
    names = {field.name for field in fields(Row)}
    return [Row(**{name: row[name] for name in names & row.keys()}) for row in orjson.loads(data)]


if __name__ == "__main__":
    print(markdown(from_json(Path(sys.argv[1]).read_bytes())))
