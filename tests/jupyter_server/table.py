"""Which of jupyter_server's tests do not apply to evstore, and why: not_applicable.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("not_applicable.toml")


@dataclass(frozen=True, slots=True)
class Table:
    """Entry -> reason. An entry is the id of a file or of a test; `*` stands for anything.

    The id of a parametrized test without its parameters means all of its cases.
    """

    files: dict[str, str]
    tests: dict[str, str]
    repeats: dict[str, str]

    @classmethod
    def read(cls) -> Table:
        data = tomllib.loads(FILE.read_text())
        return cls(data["files"], data["tests"], data["repeats"])

    def excludes_file(self, path: str) -> bool:
        return any(_matches(entry, path) for entry in self.files)

    def excludes_test(self, node_id: str) -> bool:
        return any(_matches(entry, node_id) for entry in self.tests)

    def is_repeat(self, node_id: str) -> bool:
        return any(_matches(entry, node_id) for entry in self.repeats)

    def stale_files(self, folder: Path) -> list[str]:
        """Entries that name no file any more."""
        paths = [path.relative_to(folder).as_posix() for path in folder.rglob("*.py")]
        return [entry for entry in self.files if not any(_matches(entry, path) for path in paths)]

    def stale_tests(self, node_ids: Iterable[str]) -> list[str]:
        """Entries for files of which tests were collected, that match none of these tests."""
        ids = list(node_ids)
        collected = {node_id.partition("::")[0] for node_id in ids}
        entries = [entry for entry in self.tests | self.repeats if entry.partition("::")[0] in collected]
        return [entry for entry in entries if not any(_matches(entry, node_id) for node_id in ids)]


def _matches(entry: str, name: str) -> bool:
    pattern = re.escape(entry).replace(r"\*", ".*")
    return re.fullmatch(rf"{pattern}(\[.*\])?", name, re.DOTALL) is not None
