"""All benchmarks in one run, and one table with what was aimed at, what was measured, and by how much it falls short.

    python -m bench [--short] [--only PART or WORK] [--json FILE] [--markdown]

The parts can be run alone: python -m bench.contents, .kernels, .storage, .scale, .folder, .stall. bench/README.md
says how to read the table.
"""

from __future__ import annotations

from dataclasses import replace

from bench import contents, folder, kernels, scale, stall, storage
from bench.options import Settings, main
from bench.table import Row

PARTS = {
    "contents": contents.measure,
    "kernels": kernels.measure,
    "storage": storage.measure,
    "scale": scale.measure,
    "folder": folder.measure,
    "stall": stall.measure,
}


def measure(settings: Settings) -> list[Row]:
    if part := PARTS.get(settings.only):
        return part(replace(settings, only=""))
    rows: list[Row] = []
    for name, part in PARTS.items():
        settings.say(f"-- {name}")
        rows += [row for row in part(settings) if settings.wants(row.work)]
    return rows


if __name__ == "__main__":
    main(measure, __doc__)
