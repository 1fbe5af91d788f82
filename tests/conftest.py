"""What tests of several kinds ask for."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.gateway import TOKEN, RealGateway

settings.register_profile("busy", deadline=None)  # how long a test takes says something of the machine only
settings.load_profile("busy")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealGateway]:
    """A gateway that runs."""
    gateway = RealGateway(tmp_path_factory.mktemp("gateway"))
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture
def no_secrets(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The gateway's token is never logged, not even to those who want to know everything."""
    caplog.set_level(logging.DEBUG)
    yield
    assert TOKEN not in caplog.text
