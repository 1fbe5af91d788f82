"""Some of the directories on the way to the last one that was entered, so that the next walk need not begin at the top.

Without it, looking through directories that are nested as deep as paths can tell would take the square of that in steps.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

STEP = 16  # levels between two directories that are remembered: usual folders are not that deep


class DirFdCache:
    """For one thread, and for a short time: what is renamed meanwhile is still reached by its old name."""

    def __init__(self) -> None:
        self._names: Sequence[str] = ()
        self._passed: list[tuple[int, int]] = []  # how deep, and a descriptor

    def begin(self, names: Sequence[str]) -> tuple[int, int] | None:
        """The deepest directory known on the way to `names`: how deep it is, and a descriptor, which the caller closes."""
        passed = self._passed
        while passed and names[: passed[-1][0]] != self._names[: passed[-1][0]]:
            os.close(passed.pop()[1])
        self._names = names
        return (passed[-1][0], os.dup(passed[-1][1])) if passed else None

    def passed(self, depth: int, directory: int) -> None:
        """The way to the names given to `begin` has come to `directory`, a descriptor, which stays the caller's."""
        if depth % STEP == 0:
            self._passed.append((depth, os.dup(directory)))

    def open(self, top: int, names: Sequence[str], flags: int) -> int:
        """A descriptor of the directory below `top`, also a descriptor, that `names` lead to; the caller closes it.

        All on the way are opened with `flags`, which should follow no links. Raises OSError.
        """
        depth, current = self.begin(names) or (0, os.dup(top))
        for name in names[depth:]:
            try:
                below = os.open(name, flags, dir_fd=current)
            finally:
                os.close(current)
            depth, current = depth + 1, below
            self.passed(depth, current)
        return current

    def close(self) -> None:
        while self._passed:
            os.close(self._passed.pop()[1])
