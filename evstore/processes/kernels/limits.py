"""How much of what a kernel prints is kept for those who are not there."""

from __future__ import annotations

from dataclasses import dataclass

from evstore.config import Config
from evstore.processes.kernels.spill_file import DiskSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """All in bytes. Those of one server share the disk's space."""

    memory: int  # for each client that is away or slow, and for the cells of a kernel; the rest goes to disk
    disk: int  # likewise
    cell: int  # of one cell's text, in the document
    space: DiskSpace  # of all clients and kernels

    @classmethod
    def of(cls, config: Config) -> Limits:
        return cls(
            memory=config.kept_output_memory,
            disk=config.kept_output_disk,
            cell=config.max_cell_output,
            space=DiskSpace(config.kept_output_total),
        )
