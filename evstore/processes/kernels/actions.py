"""What is done to kernels, told to whoever wants to know: started, interrupted, restarted, shut down."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from evstore.core.errors import EvstoreError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that was done to a kernel, or that did not work."""

    action: str  # start, interrupt, restart or shutdown, as Jupyter's schema kernel_actions has it
    name: str  # of the kernelspec
    kernel_id: str | None  # None when there is no kernel yet
    error: str | None  # why it did not work


class Actions:
    """Those who listen."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Action], None]] = []

    def subscribe(self, listener: Callable[[Action], None]) -> None:
        """Have `listener` called on the event loop when something was done."""
        self._listeners.append(listener)

    def tell(self, action: str, name: str, kernel_id: str | None, error: str | None = None) -> None:
        """Tell all listeners. A kernel must not suffer from a bug in one of them."""
        done = Action(action=action, name=name, kernel_id=kernel_id, error=error)
        for listener in self._listeners:
            try:
                listener(done)
            except Exception:
                logger.exception("A listener to what is done to kernels has failed")

    @contextmanager
    def telling(self, action: str, name: str, kernel_id: str | None) -> Generator[None]:
        """Tell of what the block does, once it is done or has failed."""
        try:
            yield
        except EvstoreError as error:
            self.tell(action, name, kernel_id, error.message)
            raise
        self.tell(action, name, kernel_id)
