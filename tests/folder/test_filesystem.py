"""Which file systems are no place for the log."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evstore.worktree.disk.filesystem import (
    Mount,
    check_local,
    is_network,
    mount_of,
    mounts,
    parse_mount,
    parse_mountinfo,
)

MOUNTINFO = r"""21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
22 21 0:20 / /proc rw - proc proc rw
50 21 0:40 / /home/ann rw,relatime shared:7 master:1 - nfs4 server:/home/ann rw,vers=4.2
51 50 0:41 / /home/ann/my\040data rw - fuse.sshfs ann@far:/data rw
52 50 254:1 / /home/ann/local rw - xfs /dev/vdb rw
53 21 0:44 / /mnt rw - ext4 /dev/vdc rw
54 21 0:45 / /mnt rw - cifs //server/share rw
"""
MOUNT = """/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
devfs on /dev (devfs, local, nobrowse)
//ann@server/share on /Volumes/my (odd) share (smbfs, nodev, nosuid, mounted by ann)
map auto_home on /System/Volumes/Data/home (autofs, automounted, nobrowse)
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/home/annabel/x", "ext4"),
        ("/home/ann", "nfs4"),
        ("/home/ann/nb/.evstore/log.db", "nfs4"),
        ("/home/ann/my data/x", "fuse.sshfs"),
        ("/home/ann/local/log.db", "xfs"),
        ("/mnt/x", "cifs"),
    ],
)
def test_the_nearest_mount_counts(path: str, kind: str) -> None:
    mount = mount_of(Path(path), parse_mountinfo(MOUNTINFO))
    assert mount is not None and mount.kind == kind


def test_macos() -> None:
    listed = parse_mount(MOUNT)
    assert mount_of(Path("/Volumes/my (odd) share/nb"), listed) == Mount(
        Path("/Volumes/my (odd) share"), "smbfs"
    )
    assert mount_of(Path("/Users/ann"), listed) == Mount(Path("/"), "apfs")


def test_this_machines_own_disks_will_do(tmp_path: Path) -> None:
    assert is_network(tmp_path) is None
    assert is_network(tmp_path / "not/there/yet/log.db") is None
    check_local(tmp_path / "log.db")


def test_a_link_to_somewhere_counts_as_what_it_leads_to(tmp_path: Path) -> None:
    """/proc is on a file system of its own on Linux: a link there is not on that of the link."""
    if not os.path.ismount("/proc"):
        pytest.skip("there is no /proc")
    (tmp_path / "link").symlink_to("/proc")
    mount = mount_of((tmp_path / "link/x").resolve(), mounts())
    assert mount is not None and mount.kind == "proc"
