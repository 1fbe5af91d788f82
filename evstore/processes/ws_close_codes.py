"""Why a websocket is closed: the codes of RFC 6455, 7.4.1, and its registry, that evstore closes with.

After 1000 and 1001 JupyterLab stays away, after all others it comes back.
"""

from __future__ import annotations

FINAL = 1000  # what it was about is gone for good
UNSUPPORTED = 1003  # what came is nothing that is spoken here
INVALID_DATA = 1007  # what came is broken inside
RESTART = 1012  # the server is stopped
TRY_AGAIN_LATER = 1013  # the client takes or sends what it should not, or too slowly
REPLACED = 4001  # ours: a newer websocket with the same session id has taken over
