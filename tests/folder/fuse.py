"""A file system in memory that ignores case and Unicode forms, as those of macOS and Windows do: a FUSE server.

    python -m tests.folder.fuse DIRECTORY KIND

mounts it there, calls itself `fuse.KIND`, says "ready" and serves until it is unmounted. Needs Linux and root.
Protocol: include/uapi/linux/fuse.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

IN = struct.Struct("=IIQQIIII")  # length, operation, request, node, user, group, process, padding
ATTRIBUTES = struct.Struct("=6Q10I")
NO_ANSWER = (2, 36, 42)  # FORGET, INTERRUPT, BATCH_FORGET
NOTHING = (
    14,
    18,
    20,
    25,
    27,
    29,
    30,
    34,
)  # OPEN, RELEASE, FSYNC, FLUSH, OPENDIR, RELEASEDIR, FSYNCDIR, ACCESS
OPENED = bytes(16)
BAD_SECTOR = b"bad sector"  # what stands after this in a file can't be read
UNCLEAR = ".unclear"  # a file at the top; nothing can be known of what has the names in it, one a line
LARGEST = 128 * 1024  # bytes of one write
MODELESS = "modeless"  # a kind that also has one mode for all files


@dataclass(eq=False)
class Node:
    number: int
    mode: int
    body: bytearray = field(default_factory=bytearray)
    names: dict[str, tuple[str, Node]] = field(default_factory=dict)  # by what is the same name
    mtime_ns: int = field(default_factory=time.time_ns)

    def attributes(self) -> bytes:
        seconds, ns = divmod(self.mtime_ns, 10**9)
        size = len(self.body)
        times = (seconds,) * 3
        return ATTRIBUTES.pack(self.number, size, 0, *times, ns, ns, ns, self.mode, 1, 0, 0, 0, 4096, 0)

    def entry(self) -> bytes:
        return struct.pack("=4Q2I", self.number, 0, 0, 0, 0, 0) + self.attributes()


def same(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class Server:
    def __init__(self, device: int, kind: str) -> None:
        self.device = device
        self.has_modes = kind != MODELESS
        self.nodes = {1: Node(1, stat.S_IFDIR | 0o777)}
        self.operations: dict[int, Callable[[Node, bytes], bytes]] = {
            1: self.lookup,
            3: lambda node, _: bytes(16) + node.attributes(),  # GETATTR
            4: self.setattr,
            5: lambda node, _: bytes(node.body),  # READLINK
            6: self.symlink,
            9: self.mkdir,
            10: self.remove,
            11: self.remove,
            12: lambda node, body: self.rename(node, body[:8] + bytes(8) + body[8:]),
            15: self.read,
            16: self.write,
            17: lambda _, body: struct.pack(
                "=5Q4I24x", 10**6, 10**6, 10**6, 10**6, 10**6, 4096, 255, 4096, 0
            ),
            26: self.init,
            28: self.readdir,
            35: self.create,
            45: self.rename,
        }

    def serve(self) -> None:
        while True:
            try:
                request = os.read(self.device, LARGEST + 65536)
            except OSError as error:
                if error.errno == errno.ENODEV:  # unmounted
                    return
                raise
            _, operation, number, node, *_ = IN.unpack_from(request)
            if operation in NO_ANSWER:
                continue
            failure, answer = 0, b""
            try:
                if operation in NOTHING:
                    answer = OPENED if operation in (14, 27) else b""
                elif operation in self.operations:
                    answer = self.operations[operation](self.nodes[node or 1], request[IN.size :])
                else:
                    failure = errno.ENOSYS
            except OSError as error:
                failure = error.errno or errno.EIO
            os.write(self.device, struct.pack("=IiQ", 16 + len(answer), -failure, number) + answer)

    def init(self, _: Node, body: bytes) -> bytes:
        return struct.pack("=IIIIHHIIHHI28x", 7, 31, 65536, 0, 16, 12, LARGEST, 1, 0, 0, 0)

    def lookup(self, node: Node, body: bytes) -> bytes:
        return self.find(node, text(body)).entry()

    def find(self, node: Node, name: str) -> Node:
        _, unclear = self.nodes[1].names.get(UNCLEAR, ("", self.nodes[1]))
        if name.encode() in unclear.body.splitlines():
            raise OSError(errno.EIO, "")
        if same(name) not in node.names:
            raise FileNotFoundError(errno.ENOENT, "")
        return node.names[same(name)][1]

    def add(self, node: Node, name: str, mode: int) -> Node:
        if same(name) in node.names:
            raise FileExistsError(errno.EEXIST, "")
        made = Node(len(self.nodes) + 1, mode)
        self.nodes[made.number] = made
        node.names[same(name)] = (name, made)
        return made

    def mkdir(self, node: Node, body: bytes) -> bytes:
        return self.add(node, text(body[8:]), stat.S_IFDIR | 0o777).entry()

    def symlink(self, node: Node, body: bytes) -> bytes:
        name, target, _ = body.split(b"\0")
        made = self.add(node, name.decode(), stat.S_IFLNK | 0o777)
        made.body += target
        return made.entry()

    def create(self, node: Node, body: bytes) -> bytes:
        mode = struct.unpack_from("=I", body, 4)[0] if self.has_modes else stat.S_IFREG | 0o777
        return self.add(node, text(body[16:]), mode).entry() + OPENED

    def remove(self, node: Node, body: bytes) -> bytes:
        if self.find(node, text(body)).names:
            raise OSError(errno.ENOTEMPTY, "")
        del node.names[same(text(body))]
        return b""

    def rename(self, node: Node, body: bytes) -> bytes:
        directory, flags = struct.unpack_from("=QI", body)
        if flags & ~1:  # RENAME_NOREPLACE
            raise OSError(errno.EINVAL, "")
        old, new, _ = body[16:].split(b"\0")
        target = self.nodes[directory]
        if flags and same(new.decode()) in target.names:
            raise FileExistsError(errno.EEXIST, "")
        moved = self.find(node, old.decode())
        del node.names[same(old.decode())]
        target.names[same(new.decode())] = (new.decode(), moved)
        return b""

    def setattr(self, node: Node, body: bytes) -> bytes:
        valid, _, _, size, _, _, mtime, _, _, ns, _, mode = struct.unpack_from("=II6Q4I", body)
        if valid & 1 and self.has_modes:
            node.mode = mode
        if valid & 8:
            node.body[:] = node.body[:size].ljust(size, b"\0")
        if valid & 32:
            node.mtime_ns = time.time_ns() if valid & 256 else mtime * 10**9 + ns
        return bytes(16) + node.attributes()

    def read(self, node: Node, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("=QQI", body)
        if 0 <= node.body.find(BAD_SECTOR) < offset + size:
            raise OSError(errno.EIO, "")
        return bytes(node.body[offset : offset + size])

    def write(self, node: Node, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("=QQI", body)
        node.body[offset : offset + size] = body[40 : 40 + size]
        node.mtime_ns = time.time_ns()
        return struct.pack("=II", size, 0)

    def readdir(self, node: Node, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("=QQI", body)
        listing = b""
        for place, (name, child) in list(enumerate(node.names.values(), start=1))[offset:]:
            encoded = name.encode()
            one = struct.pack("=QQII", child.number, place, len(encoded), stat.S_IFMT(child.mode) >> 12)
            one += encoded.ljust((len(encoded) + 7) // 8 * 8, b"\0")
            if len(listing) + len(one) > size:
                break
            listing += one
        return listing


def text(body: bytes) -> str:
    return body.partition(b"\0")[0].decode()


@contextmanager
def folding_disk(at: Path, kind: str = "folding") -> Generator[None]:
    """While it lasts, a disk that ignores case is mounted at `at`. Skips the test where that is not possible."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("a disk that ignores case needs FUSE, and root to mount it")
    command = [sys.executable, "-m", "tests.folder.fuse", str(at), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "ready\n":
                pytest.skip("a disk that ignores case can't be mounted here")
            yield
        finally:
            process.kill()  # what is still open there fails from now on
            process.wait()
            subprocess.run(["umount", "--lazy", at], check=False, capture_output=True)


def main(at: str, kind: str) -> None:
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40777,user_id=0,group_id=0,allow_other,default_permissions"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"evstore-test", os.fsencode(at), f"fuse.{kind}".encode(), 0, options.encode()) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
    print("ready", flush=True)
    Server(device, kind).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
