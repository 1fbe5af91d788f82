"""What tests of several kinds ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway import RealGateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealGateway]:
    """A gateway that runs."""
    gateway = RealGateway(tmp_path_factory.mktemp("gateway"))
    gateway.start()
    yield gateway
    gateway.stop()
