"""What stands in for torchvision while a library imports it."""
import importlib
import sys

import pytest

from mwam_mm.stack import check_stack
from mwam_mm.torchvision_stand_in import torchvision_or_stand_in

from .stacks import needs_classification


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A module that imports torchvision as MMPretrain does."""
    (tmp_path / 'asks_for_torchvision.py').write_text(
        'import torchvision\n'
        'import torchvision.ops.boxes as boxes\n'
        'import torchvision.transforms.functional as F\n'
        'from torchvision import transforms\n'
        'from torchvision.transforms.transforms import InterpolationMode\n'
        'class Crop(transforms.RandomResizedCrop):\n'
        '    pass\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [m for m in sys.modules if m.startswith('torchvision')]:
        monkeypatch.delitem(sys.modules, name)
    yield tmp_path
    sys.modules.pop('asks_for_torchvision', None)


@pytest.fixture
def broken(library):
    """A torchvision whose operators do not register, as on a CPU build."""
    (library / 'torchvision').mkdir()
    (library / 'torchvision' / 'extension.py').write_text('')
    (library / 'torchvision' / '__init__.py').write_text(
        'import torchvision.extension\n'
        "raise RuntimeError('operator torchvision::nms does not exist')\n")


def test_the_import_succeeds_and_a_use_is_refused(broken):
    with torchvision_or_stand_in():
        library = importlib.import_module('asks_for_torchvision')
    for use in (lambda: library.F.pil_to_tensor(0),
                lambda: library.boxes.box_iou(0, 0), library.Crop):
        with pytest.raises(ImportError, match='torchvision cannot be import'):
            use()
    assert not hasattr(library.F, '__path__')


def test_afterwards_nobody_takes_it_for_torchvision(broken):
    with torchvision_or_stand_in():
        assert 'torchvision.ops' in sys.modules
    assert not [m for m in sys.modules if m.startswith('torchvision')]
    with pytest.raises(RuntimeError, match='nms'):
        importlib.import_module('torchvision')


def test_a_torchvision_that_works_is_used(library):
    (library / 'torchvision.py').write_text('works = True\n')
    with torchvision_or_stand_in():
        assert importlib.import_module('torchvision').works
    assert sys.modules.pop('torchvision').works


@needs_classification
def test_mmpretrain_imports():
    check_stack('mmpretrain')
    from mmpretrain.datasets.transforms import PackInputs
    assert PackInputs
