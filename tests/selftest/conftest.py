"""Fixtures of several self-tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from host_board import HostBoard, host_board


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostBoard]:
    """This host as a unit."""
    with host_board(tmp_path) as board:
        yield board
