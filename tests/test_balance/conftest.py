"""Fixtures shared by the tests of balancing."""
import pytest


@pytest.fixture(autouse=True)
def _plain_dumps(plain_dumps):
    """Each test here starts several runs."""
