"""A process that ends just before its n-th change of the disk, as by kill -9: for tests of what the next start makes of that."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from evstore.worktree.disk import renameat2
from tests.folder.both_sides import BothSides

KILLED = 9  # how it ends then
CHANGES = ("rename", "replace", "link", "unlink", "mkdir", "rmdir", "symlink", "fchmod")
Deed = Callable[[BothSides, Callable[[], None]], Coroutine[Any, Any, None]]

# what is forked has no threads yet, and need not import anything
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__, "tests.folder.test_every_call"])


def run(place: Path, deed: Deed, calls: int) -> int:
    """Do `deed` in another process, which ends just before so many `calls` that change the disk. Returns how many it was short of that: 0 when it was killed.

    `deed` is given what to call when the counting begins. It must be a function of a module.
    """
    left = _processes.Value("q", calls, lock=False)
    process = _processes.Process(target=_do, args=(place, deed, left))
    process.start()
    process.join()
    assert process.exitcode == (0 if left.value else KILLED)
    return left.value


def _do(place: Path, deed: Deed, left: Any) -> None:
    asyncio.run(deed(BothSides(place), lambda: _count(left)))


def _count(left: Any) -> None:
    def changing() -> None:
        left.value -= 1
        if not left.value:
            os._exit(KILLED)

    before_each_change(changing, setattr)


def before_each_change(
    changing: Callable[[], None], set_: Callable[[object, str, Callable[..., Any]], None]
) -> None:
    """Have `changing` called just before each call of the system that changes what is on the disk; `set_` is `setattr` or the like."""

    def announced(call: Callable[..., Any], *, changes: Callable[..., bool] = lambda *_, **__: True) -> Any:
        def calling(*args: Any, **options: Any) -> Any:
            if changes(*args, **options):
                changing()
            return call(*args, **options)

        return calling

    for name in CHANGES:
        set_(os, name, announced(getattr(os, name)))
    set_(os, "open", announced(os.open, changes=lambda _, flags, *__, **___: bool(flags & os.O_CREAT)))
    set_(renameat2, "_CALL", announced(renameat2._CALL))
