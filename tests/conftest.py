"""Fixtures shared by all tests."""
import gc
import os
from pathlib import Path
from unittest import mock

import pytest
import torch
from mmengine.config import Config

from . import processes

REPO = Path(__file__).resolve().parents[1]

# The tests run in as many processes as there are cores: more threads would
# only get into each other's way.
os.environ.setdefault('OMP_NUM_THREADS', '1')
# Tests that compare every bit do so on GPUs, too, where the algorithms must be
# deterministic for it; those that compare within a tolerance count on float32,
# not on the TF32 that convolutions otherwise compute in. CUDA reads both when
# it starts, also in the processes that tests start.
os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
os.environ.setdefault('NVIDIA_TF32_OVERRIDE', '0')


def pytest_configure():
    if torch.cuda.is_available():
        # Some operators, such as the cross entropy of images, have no variant
        # that is called deterministic but give the same bits all the same.
        torch.use_deterministic_algorithms(True, warn_only=True)


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker('cuda'):
                item.add_marker(pytest.mark.skip(reason='needs a CUDA device'))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    # It picks algorithms by their speed; a config that a test ran may have
    # switched it on.
    torch.backends.cudnn.benchmark = False


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
    return processes.unused_port()


@pytest.fixture
def on_cpu(monkeypatch):
    """Let Runners put their models on the CPU, whatever GPUs there are."""
    monkeypatch.setattr('mmengine.device.utils.DEVICE', 'cpu')


@pytest.fixture(scope='session', autouse=True)
def frozen_modules():
    """MMEngine collects garbage for every dataset that it loads.

    Among all that was imported this would take a fifth of the tests' time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope='session', autouse=True)
def plain_dumps():
    """Laying out the dumped configs would take half the time of the runs.

    Yields the function that does, of a config.
    """
    pretty_text = Config.pretty_text.fget

    def plain(cfg):
        with mock.patch('yapf.yapflib.yapf_api.FormatCode',
                        lambda text, **kwargs: (text, False)):
            return pretty_text(cfg)

    with mock.patch.object(Config, 'pretty_text', property(plain)):
        yield pretty_text
