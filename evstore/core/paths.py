"""API paths: how clients name entries, and which names are allowed. Pure."""

from __future__ import annotations

from typing import Self

from evstore.core.errors import Invalid, NotFound

MAX_NAME = 255  # bytes of UTF-8, as on every common file system
MAX_PATH = 4096  # bytes of UTF-8


class ContentPath(str):
    """A normalised API path: no slash at either end, `/` between names, `""` is the root.

    Names are kept exactly as they came: case, accents in either Unicode form, spaces.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, raw: str) -> Self:
        """The path that a client means by `raw` (decoded already).

        Raises NotFound for what can never exist (`..`, NUL, half a surrogate pair): such a path is an attempt to
        get out, and is told no more than that nothing is there.
        """
        names = [name for name in raw.split("/") if name]
        if any(name in (".", "..") for name in names) or "\0" in raw or not _is_unicode(raw):
            raise NotFound(f"No such file or directory: {raw!r}")
        return cls("/".join(names))

    @property
    def names(self) -> list[str]:
        return self.split("/") if self else []

    @property
    def name(self) -> str:
        return self.rpartition("/")[2]

    @property
    def parent(self) -> ContentPath:
        return ContentPath(self.rpartition("/")[0])

    @property
    def lineage(self) -> list[ContentPath]:
        """The directories that lead to it from the top down, without the root, and itself."""
        names = self.names
        return [ContentPath("/".join(names[:depth])) for depth in range(1, len(names) + 1)]

    @property
    def hidden(self) -> bool:
        """Whether the entry or a folder above it has a name that begins with a dot."""
        return any(name.startswith(".") for name in self.names)

    def child(self, name: str) -> ContentPath:
        return ContentPath(f"{self}/{name}" if self else name)

    def is_below(self, folder: ContentPath) -> bool:
        """Whether this is inside `folder` (not `folder` itself)."""
        return self != folder and (not folder or self.startswith(f"{folder}/"))


def check_name(name: str) -> None:
    """Raise Invalid unless an entry may be created under this name."""
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise Invalid(f"{name!r} can't be the name of a file or directory.")
    if "\\" in name:
        raise Invalid(f"{name!r}: a name can't contain a backslash; use / between folders.")
    if not _is_unicode(name):
        raise Invalid(f"{name!r}: the name is not valid Unicode text.")
    if (length := len(name.encode())) > MAX_NAME:
        raise Invalid(f"The name is {length} bytes long; at most {MAX_NAME} are possible: {name[:40]}…")


def check_path(path: ContentPath) -> None:
    """Raise Invalid unless an entry may be created at this path."""
    for name in path.names:
        check_name(name)
    if len(path.encode()) > MAX_PATH:
        raise Invalid(f"The path is longer than {MAX_PATH} bytes.")


def _is_unicode(text: str) -> bool:
    """Whether `text` has a UTF-8 form: JSON can spell one half of a surrogate pair, which has none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
