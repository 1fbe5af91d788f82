"""Taking secrets out of what goes into the server's log (S14, CVE-2026-86049)."""

from __future__ import annotations

import re

# A query key that contains one of these words hides its value, wherever the address stands in a text.
# That it is a key, with a = after it, is looked at first: otherwise one of 64 KiB would take seconds.
_SECRET = re.compile(
    r"([?&](?=[^=&?#\s'\"]*=)[^=&?#\s'\"]*(?:token|auth|key|code|state|xsrf)[^=&?#\s'\"]*=)[^&#\s'\"]*",
    re.IGNORECASE,
)


def scrub(text: str, *secrets: str) -> str:
    """`text` without the values of secret query keys, and without `secrets` anywhere."""
    text = _SECRET.sub(r"\1[secret]", text)
    for secret in filter(None, secrets):
        text = text.replace(secret, "[secret]")
    return text
