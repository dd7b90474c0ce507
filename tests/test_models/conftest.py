"""Fixtures shared by the tests of the hosts."""
import pytest


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    """Where the hosts find, or render, their scenes."""
    return tmp_path_factory.mktemp('hosts') / 'scenes'


@pytest.fixture
def plain_dumps(monkeypatch):
    """Laying out the dumped configs would take half the time of the runs."""
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode',
                        lambda text, **kwargs: (text, False))
