"""What a cluster is to clients: one for each IPython profile, running or not."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_ENGINES = 64  # that one request may ask for; who wants more says so in the profile's configuration
PROFILE = re.compile(r"[\w-][\w.-]{0,49}")  # the name of a folder: 255 bytes, and a letter may be 4
CLUSTER_ID = re.compile(r"[\w-]{0,50}")  # it becomes a part of the names of files


@dataclass(frozen=True, slots=True)
class Profile:
    """An IPython profile, and its cluster."""

    name: str
    folder: str
    engines: int | None = None  # how many it runs; None: the cluster is stopped
