"""Fixtures shared by the tests of the hosts."""
import pytest


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    """Where the hosts find, or render, their scenes."""
    return tmp_path_factory.mktemp('hosts') / 'scenes'
