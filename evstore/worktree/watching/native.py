"""Watching on macOS and Windows, through watchfiles: there the system itself watches whole trees, and follows no links."""

from __future__ import annotations

import os
from pathlib import Path

from watchfiles import Change
from watchfiles._rust_notify import RustNotify

from evstore.core.paths import ContentPath
from evstore.worktree.watching.source import Bell, Heard, IsWatched, Unavailable, Vanished

STEP = 20  # ms between two looks at what the system has told
DEBOUNCE = 50  # ms, at most, until what was told is handed on


class Native:
    """See `Source`. The names of directories that are not watched are told by the system too, and passed over here."""

    how = "watchfiles"
    watches = 1

    def __init__(self, root: Path, is_watched: IsWatched, bell: Bell) -> None:
        self._top = os.path.realpath(root)  # as the system spells it in what it tells
        self._is_watched = is_watched
        self._bell = bell
        self._changed: set[ContentPath] = set()
        self.check()
        try:
            self._notify = RustNotify([self._top], False, False, 0, True, True)
        except FileNotFoundError as error:
            raise Vanished from error
        except OSError as error:
            raise Unavailable(f"this system does not tell what changes ({error})") from error

    def read(self, seconds: float) -> Heard:
        heard = self._notify.watch(DEBOUNCE, STEP, max(1, int(seconds * 1000)), self._bell)
        if isinstance(heard, str):
            return Heard.NOTHING
        noted = [self._note(path, came=change == Change.added) for change, path in heard]
        return Heard.CHANGE if any(noted) else Heard.NOTHING

    def take(self, *, restless: bool) -> frozenset[ContentPath]:
        paths = frozenset(path for path in self._changed if os.path.isdir(self._disk_path(path)))
        self._changed.clear()
        return paths

    def repositories(self) -> list[str]:
        return [self._top] if os.path.lexists(os.path.join(self._top, ".git")) else []

    def check(self) -> None:
        if not os.path.isdir(self._top):
            raise Vanished

    def close(self) -> None:
        self._notify.close()

    def _note(self, told: str, *, came: bool) -> bool:
        """Note where it was; False if nobody cares what happens there."""
        relative = os.path.relpath(told, self._top)
        names = [] if relative == "." else relative.split(os.sep)
        path = ContentPath("/".join(names))
        if any(not self._is_watched(above) for above in path.lineage[:-1]):
            return False
        self._changed.add(path.parent)
        if came:
            self._note_below(path)
        return True

    def _note_below(self, path: ContentPath) -> None:
        """A directory that came with all that is in it is told by its own name alone."""
        places = [path]
        while places:
            place = places.pop()
            disk_path = self._disk_path(place)
            if (
                os.path.islink(disk_path)
                or not os.path.isdir(disk_path)
                or (place and not self._is_watched(place))
            ):
                continue
            self._changed.add(place)
            try:
                with os.scandir(disk_path) as members:
                    places += [
                        place.child(member.name) for member in members if member.is_dir(follow_symlinks=False)
                    ]
            except OSError:
                continue  # gone meanwhile, or not to be read

    def _disk_path(self, path: ContentPath) -> str:
        return os.path.join(self._top, *path.names)
