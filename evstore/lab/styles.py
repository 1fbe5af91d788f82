"""Style sheets of themes. Pure."""

from __future__ import annotations

import posixpath
import re

# url(...) of a relative address, in any quotes; not /path, #fragment, data: or https:
_URL = re.compile(r"""url\(\s*(['"]?)(?!['"]|/|#|[a-zA-Z][a-zA-Z0-9+.-]*:)([^'")\s]+)\1\s*\)""")


def with_absolute_urls(css: str, base: str) -> str:
    """`css` with its relative addresses made absolute; `base`: the address of the sheet's folder."""

    def absolute(match: re.Match[str]) -> str:
        quote, target = match.groups()
        return f"url({quote}{posixpath.normpath(posixpath.join(base, target))}{quote})"

    return _URL.sub(absolute, css)
