"""Which file system a path is on: SQLite's log needs one whose locks and shared memory it can trust.

"WAL does not work over a network filesystem": https://sqlite.org/wal.html, https://sqlite.org/faq.html#q5.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from evstore.core.errors import DatabaseError

MOUNTINFO = Path("/proc/self/mountinfo")  # of Linux: proc_pid_mountinfo(5)
MOUNT_LINE = re.compile(r"^.* on (?P<point>/.*) \((?P<kind>[^,)]+).*\)$")  # of macOS and BSD: mount(8)
# fmt: off
NETWORK = frozenset((
    "9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "gpfs", "lustre", "ncp",
    "ncpfs", "nfs", "nfs4", "orangefs", "panfs", "prl_fs", "pvfs2", "smb3", "smbfs", "vboxsf", "vmhgfs",
    "webdav", "wekafs",
))
NETWORK_BY_FUSE = frozenset((
    "afp", "ceph", "ceph-fuse", "curlftpfs", "davfs", "davfs2", "gcsfuse", "geesefs", "glusterfs", "goofys",
    "grpcfuse", "juicefs", "mfs", "moosefs", "mount-s3", "osxfs", "portal", "rclone", "s3fs", "seaweedfs",
    "smbnetfs", "sshfs", "vmhgfs-fuse",
))
# fmt: on


class NetworkDatabase(DatabaseError):
    """The log would be on a network file system, where it is not safe."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system, and where it is in the tree."""

    point: Path
    kind: str  # as the system calls it: ext4, nfs4, fuse.sshfs


def check_local(db: Path) -> None:
    """Raise NetworkDatabase, with what to do, when the log `db` is or would be on a network file system."""
    if (kind := is_network(db)) is not None:
        raise NetworkDatabase(
            f"{db} is on a network file system ({kind}), where SQLite can lose what it has saved. Keep the log on a "
            "disk of this machine: `evstore serve --db ~/.local/share/evstore/NAME.db FOLDER`; the folder itself "
            "may stay where it is. --allow-network-db goes on anyway."
        )


def is_network(path: Path) -> str | None:
    """The kind of the network file system that `path` is on, or would be; None when it is on none, or that is unknown."""
    mount = mount_of(path.resolve(), mounts())
    return mount.kind if mount is not None and _over_network(mount.kind) else None


def mount_of(path: Path, all_mounts: Iterable[Mount]) -> Mount | None:
    """The file system that the absolute `path` is on: the nearest above; of several at one place the last covers the others."""
    found: Mount | None = None
    for mount in all_mounts:
        if path.is_relative_to(mount.point) and (
            found is None or len(mount.point.parts) >= len(found.point.parts)
        ):
            found = mount
    return found


def mounts() -> list[Mount]:
    """All that is mounted, in the order of mounting; none when the system does not tell."""
    try:
        return parse_mountinfo(MOUNTINFO.read_text(errors="surrogateescape"))
    except FileNotFoundError:
        pass
    try:
        listing = subprocess.run(["mount"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return parse_mount(listing.stdout)


def parse_mountinfo(text: str) -> list[Mount]:
    """Linux: `36 35 98:0 /root /mount/point options optional... - type source options`."""
    found: list[Mount] = []
    for line in text.split("\n"):
        fields, separator, rest = line.partition(" - ")
        if separator:
            found.append(Mount(Path(_unescaped(fields.split(" ")[4])), rest.split(" ")[0]))
    return found


def parse_mount(text: str) -> list[Mount]:
    """macOS: `//ann@server/share on /Volumes/share (smbfs, nodev, nosuid)`."""
    found = (MOUNT_LINE.match(line) for line in text.splitlines())
    return [Mount(Path(match["point"]), match["kind"]) for match in found if match]


def _unescaped(field: str) -> str:
    """Spaces, tabs, newlines and backslashes are written as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), field)


def _over_network(kind: str) -> bool:
    fuse, separator, by = kind.partition(".")
    if separator and fuse in ("fuse", "fuseblk"):
        return by in NETWORK_BY_FUSE or by in NETWORK
    return kind in NETWORK
