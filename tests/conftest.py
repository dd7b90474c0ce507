"""Fixtures shared by all tests."""
import os
import socket
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]

# The tests run in as many processes as there are cores: more threads would
# only get into each other's way.
os.environ.setdefault('OMP_NUM_THREADS', '1')


@pytest.fixture(scope='session')
def data_root() -> Path:
    """The folder of real pairs; tests that need it skip where it is absent.

    ``MWAM_DATA_ROOT`` says where it is; with ``MWAM_REQUIRE_DATA`` set its
    absence is a failure.
    """
    root = Path(
        os.environ.get('MWAM_DATA_ROOT', REPO.parent / 'shared' / 'data'))
    if not (root / 'potholes').is_dir():
        message = f'no real pairs under {root}: set MWAM_DATA_ROOT'
        if os.environ.get('MWAM_REQUIRE_DATA'):
            pytest.fail(message)
        pytest.skip(message)
    return root


@pytest.fixture
def unused_port() -> int:
    """A TCP port that nothing listens on."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]
