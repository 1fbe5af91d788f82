"""A kernel's process, by way of jupyter_client: the only module that touches its kernel manager.

jupyter_client knows how kernels are launched (through any provisioner that a kernelspec names),
interrupted and asked to leave. It does not get to watch or restart them, and its own sockets
serve for nothing but that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import uuid
from collections import deque
from collections.abc import Awaitable
from typing import Protocol, cast

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from jupyter_client.session import Session

from evstore.core.errors import CannotStart
from evstore.processes.child_env import for_programs
from evstore.processes.kernels.endpoint import Ended
from evstore.processes.kernels.launch_context import LaunchContext
from evstore.processes.kernels.messages import Signer
from evstore.processes.kernels.runtime import Runtime
from evstore.processes.kernels.zmq_endpoint import ZmqEndpoint

logger = logging.getLogger(__name__)
# jupyter_client logs its errors with a traceback, or the whole command, and raises them as well
quiet = logging.getLogger(f"{__name__}.jupyter_client")
quiet.setLevel(logging.CRITICAL)
logging.getLogger("traitlets").setLevel(logging.CRITICAL)

CHANNELS = ("shell", "control", "stdin", "iopub")
GRACE = 4.0  # seconds that a kernel has to leave: half of them until SIGTERM, all until SIGKILL
LAST_WORDS = 8  # lines
PIPE = 64 * 1024  # bytes that a pipe holds
LINE = 300  # bytes of a line that are kept


class Manager(Protocol):
    """What is used of jupyter_client's AsyncKernelManager, with the types that it leaves open."""

    kernel_id: str
    transport: str
    ip: str
    session: Session
    provisioner: KernelProvisionerBase | None

    @property
    def has_kernel(self) -> bool: ...
    def start_kernel(self, **options: object) -> Awaitable[None]: ...
    def interrupt_kernel(self) -> Awaitable[None]: ...
    def shutdown_kernel(self, *, now: bool, restart: bool) -> Awaitable[None]: ...
    def cleanup_resources(self) -> Awaitable[None]: ...
    def cleanup_random_ports(self) -> None: ...


class KernelProcess:
    """A `Process` on this machine."""

    def __init__(self, kernel_id: str, name: str, runtime: Runtime) -> None:
        self._name = name
        self._context = runtime.context
        manager = AsyncKernelManager(
            kernel_name=name,
            kernel_spec_manager=runtime.specs,
            context=runtime.context,
            connection_file=str(runtime.folder / f"kernel-{kernel_id}.json"),
            transport=runtime.transport,
            shutdown_wait_time=GRACE,
            log=quiet,
        )
        self._manager = cast(Manager, manager)
        self._manager.kernel_id = kernel_id
        if runtime.transport == "ipc":  # an address of few bytes, for the system allows about 100
            self._manager.ip = str(runtime.folder / uuid.uuid4().hex[:8])
        self._printed = Printed()

    @property
    def last_words(self) -> str:
        """The last lines that the process wrote to its own stdout and stderr, as one."""
        return self._printed.text

    async def launch(self, place: LaunchContext) -> ZmqEndpoint:
        """Start the process there. Raises CannotStart when that fails."""
        environment = for_programs()
        environment.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # or ipykernel starts with a warning
        environment.update(place.environment())
        output = self._printed.open()
        try:
            await self._manager.start_kernel(
                cwd=str(place.folder()), env=environment, stdout=output, stderr=output
            )
        except BaseException as error:  # cancellation too: nothing may be left running
            await self.stop(now=True)
            if not isinstance(error, Exception):
                raise
            raise CannotStart(
                f"The '{self._name}' kernel could not be started: {error}",
                short_message=f"Error starting kernel {self._name}",
            ) from error
        finally:
            os.close(output)
        addresses = {channel: self._address(channel) for channel in CHANNELS}
        return ZmqEndpoint(self._context, addresses, Signer(self._manager.session.key))

    async def poll(self) -> Ended | None:
        """None while the process runs."""
        provisioner = self._manager.provisioner
        exit_code = 0 if provisioner is None else await provisioner.poll()
        return None if exit_code is None else Ended(f"died with exit code {exit_code}")

    async def interrupt(self) -> None:
        """Interrupt what the kernel runs, in the way that its kernelspec asks for."""
        await self._manager.interrupt_kernel()

    async def stop(self, *, now: bool = False, restart: bool = False) -> None:
        """End the process: ask it, or with `now` kill it and all it has started.

        It counts as ended also when its provisioner can't say whether it has; the log has that.
        """
        provisioner = self._manager.provisioner
        if provisioner is not None and self._manager.has_kernel:
            try:
                await self._manager.shutdown_kernel(now=now, restart=restart)
            except Exception as error:
                kernel = (self._manager.kernel_id, self._name)
                logger.warning("Kernel %s (%s) is killed unseen: %s", *kernel, error)
                await self._kill_unseen(provisioner)
        elif not restart:
            await self._manager.cleanup_resources()
        self._printed.close()

    async def _kill_unseen(self, provisioner: KernelProvisionerBase) -> None:
        """The next process gets a provisioner of its own; this one must not stand in its way."""
        self._manager.provisioner = None
        for step in (provisioner.kill, provisioner.cleanup):
            try:
                await step()
            except Exception as error:
                logger.warning("Kernel %s (%s) may run on: %s", self._manager.kernel_id, self._name, error)
        await self._manager.cleanup_resources()

    def forget_ports(self) -> None:
        """Use other TCP ports for the next launch: these may have been taken by somebody else."""
        self._manager.cleanup_random_ports()

    def _address(self, channel: str) -> str:
        port: int = getattr(self._manager, f"{channel}_port")
        separator = ":" if self._manager.transport == "tcp" else "-"
        return f"{self._manager.transport}://{self._manager.ip}{separator}{port}"


class LocalLauncher:
    """A `Launcher` on this machine."""

    def __init__(self, specs: KernelSpecManager, *, transport: str) -> None:
        self._specs = specs
        self._transport = transport
        self._runtime: Runtime | None = None

    def process(self, kernel_id: str, name: str) -> KernelProcess:
        """Raises CannotStart when there is no place for what kernels share."""
        if self._runtime is None:
            self._runtime = Runtime.make(self._transport, self._specs)
        return KernelProcess(kernel_id, name, self._runtime)

    async def close(self) -> None:
        if self._runtime is not None:
            self._runtime.close()
        self._runtime = None


class Printed:
    """What a process writes to stdout and stderr: read, so that it never blocks, and mostly thrown away.

    Kernels send their output as messages; this is what the interpreter says when it crashes,
    or a library that writes past Python. It does not belong on the server's terminal.
    """

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=LAST_WORDS)
        self._fd: int | None = None

    @property
    def text(self) -> str:
        self._read()
        lines = (line.decode(errors="replace").strip() for line in self._lines)
        return " | ".join(line for line in lines if line)

    def open(self) -> int:
        """A new pipe. Returns the end to write to, which the caller closes."""
        self.close()
        self._fd, output = os.pipe()
        os.set_blocking(self._fd, False)
        asyncio.get_running_loop().add_reader(self._fd, self._read)
        return output

    def close(self) -> None:
        self._read()
        if self._fd is not None:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
        self._fd = None

    def _read(self) -> None:
        """Take what a pipe holds, once: a process that never stops must not keep the event loop."""
        if self._fd is None:
            return
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._fd, PIPE)
            unfinished = self._lines.pop() if self._lines else b""
            self._lines.extend(line[:LINE] for line in (unfinished + data).split(b"\n"))
            if not data:  # all writers are gone
                asyncio.get_running_loop().remove_reader(self._fd)
