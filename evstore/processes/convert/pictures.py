"""The pictures that a notebook refers to by a path, which lie beside it as files of their own. Pure.

An exported notebook is read elsewhere, so they have to go with it. They are found in the text of Markdown
(`![...](plot.png)`, `![...][1]` with `[1]: plot.png`, `<img src="plot.png">`, and not in its code), and in outputs.
"""

from __future__ import annotations

import base64
import html
import mimetypes
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, cast
from urllib.parse import unquote

MOST = 500  # pictures of one notebook
Rename = Callable[[str], str | None]  # from what a reference says to what it shall say; None: nothing else

_IMG = r"""<img\b[^<>]*?\bsrc\s*=\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<plain>[^\s"'>]+))"""
_MARKDOWN = re.compile(
    rf"""
    ^[ ]{{0,3}}(?P<fence>`{{3,}}|~{{3,}}).*?(?:^[ ]{{0,3}}(?P=fence)|\Z)     # a block of code
    | (?P<ticks>`+)(?!`).{{0,2000}}?(?<!`)(?P=ticks)(?!`)                    # code in a line
    | !\[(?:[^\[\]\\]|\\.|\[[^\[\]]*\])*\]\(\s*
        (?:<(?P<angle>[^<>\n]*)>|(?P<bare>[^\s<>()]*(?:\([^\s()]*\)[^\s<>()]*)*))
    | ^[ ]{{0,3}}\[(?P<id>[^\]\n]+)\]:[ \t]*(?:<(?P<id_angle>[^<>\n]*)>|(?P<id_bare>[^\s<>]+))
    | {_IMG}
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
_HTML = re.compile(_IMG, re.IGNORECASE | re.DOTALL)
_USED = re.compile(r"!\[([^\[\]]*)\](?:\[([^\[\]]*)\])?")
_TARGETS = ("angle", "bare", "id_angle", "id_bare", "double", "single", "plain")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//")


def wanted(notebook: Any) -> list[str]:
    """The paths of all pictures, as seen from the notebook's folder; one that begins with a slash, from the top."""
    found: dict[str, None] = {}

    def note(reference: str) -> None:
        if (path := _path(reference)) is not None and len(found) < MOST:
            found[path] = None

    _rewrite(notebook, note)
    return list(found)


def embed(notebook: Any, pictures: Mapping[str, bytes]) -> None:
    """Put pictures, by the paths of `wanted`, into the references to them."""
    addresses = {
        path: f"data:{_mimetype(path)};base64,{base64.b64encode(data).decode()}"
        for path, data in pictures.items()
    }
    _rewrite(notebook, lambda reference: addresses.get(_path(reference) or ""))


def rename(notebook: Any, pictures: Mapping[str, bytes]) -> dict[str, bytes]:
    """Refer to pictures by names that suit every format; returns them by these names."""
    names: dict[str, str] = {}
    taken = set(_attachments(notebook))
    for path in pictures:
        stem, suffix = PurePosixPath(path).stem, PurePosixPath(path).suffix.lower()
        stem = re.sub(r"[^A-Za-z0-9]+", "-", stem).strip("-") or "picture"
        free = (f"{stem}{number}{suffix}" for number in ("", *(f"-{count}" for count in range(2, MOST + 3))))
        names[path] = next(name for name in free if name not in taken)
        taken.add(names[path])
    _rewrite(notebook, lambda reference: names.get(_path(reference) or ""))
    return {names[path]: data for path, data in pictures.items()}


def _attachments(notebook: Any) -> Iterator[str]:
    for cell in notebook["cells"]:
        yield from (PurePosixPath(name).name for name in cell.get("attachments") or ())


def _rewrite(notebook: Any, new: Rename) -> None:
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = _in_markdown(cell["source"], new)
        for output in cell.get("outputs") or ():
            data = cast("dict[str, Any]", output.get("data") or {})
            for mimetype, rewrite in (("text/markdown", _in_markdown), ("text/html", _in_html)):
                if isinstance(text := data.get(mimetype), str):
                    data[mimetype] = rewrite(text, new)


def _in_markdown(text: str, new: Rename) -> str:
    used = {(name or alt).casefold() for alt, name in _USED.findall(text)}

    def replace(match: re.Match[str]) -> str:
        is_link = match["id"] is not None and match["id"].casefold() not in used
        return match[0] if is_link else _replaced(match, new)

    return _MARKDOWN.sub(replace, text)


def _in_html(text: str, new: Rename) -> str:
    return _HTML.sub(lambda match: _replaced(match, new), text)


def _replaced(match: re.Match[str], new: Rename) -> str:
    """What a reference was found in, with what it shall say; code as it is."""
    groups = match.groupdict()
    target = next((name for name in _TARGETS if groups.get(name)), None)
    if target is None:
        return match[0]
    reference = match[target]
    wish = new(html.unescape(reference) if target in ("double", "single", "plain") else reference)
    if wish is None:
        return match[0]
    start, end = (place - match.start() for place in match.span(target))
    return match[0][:start] + wish + match[0][end:]


def _path(reference: str) -> str | None:
    """The path that a reference means, None when it is none of a picture: another site, data, a page."""
    if _SCHEME.match(reference):
        return None
    path = unquote(re.split("[?#]", reference, maxsplit=1)[0])
    return path if _mimetype(path).startswith("image/") else None


def _mimetype(path: str) -> str:
    return mimetypes.guess_type(path)[0] or ""
