"""What the package does for the stack that it finds."""
import importlib.metadata
import subprocess
import sys

import pytest
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

from mwam_mm import stack

FCN = 'mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-769x769.py'


def test_configs_inherit_from_mmseg_by_name(tmp_path):
    pytest.importorskip('mmseg')
    stack.check_stack()
    path = tmp_path / 'job.py'
    path.write_text(f'_base_ = {FCN!r}\n')
    assert Config.fromfile(path).model.backbone.depth == 18


@pytest.mark.parametrize('installed, expected', [
    (['mmsegmentation'], 'mmsegmentation'),
    (['a-fork'], 'mmseg'),
])
def test_where_mmengine_looks_for_mmseg(monkeypatch, installed, expected):
    """A distribution of another name is found by the module's name."""
    pytest.importorskip('mmseg')

    def distribution(name):
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(stack, 'distribution', distribution)
    monkeypatch.setitem(MODULE2PACKAGE, 'mmseg', 'mmsegmentation')
    stack.check_stack()
    assert MODULE2PACKAGE['mmseg'] == expected


def test_without_mmseg_mmengine_says_so(monkeypatch):
    def nothing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(stack, 'distribution', nothing)
    monkeypatch.setattr(stack.importlib.util, 'find_spec', lambda name: None)
    monkeypatch.setitem(MODULE2PACKAGE, 'mmseg', 'mmsegmentation')
    stack._find_configs_of_mmseg()
    assert MODULE2PACKAGE['mmseg'] == 'mmsegmentation'


def test_notes_that_concern_nobody():
    """The maintained stack prints four at its import."""
    code = """
from mwam_mm import stack
print(stack.has_segmentation(), stack.has_detection())
import mmseg.datasets
if stack.has_detection():
    import mmdet.datasets
"""
    said = subprocess.run([sys.executable, '-W', 'ignore', '-c', code],
                          check=True,
                          capture_output=True,
                          text=True).stdout
    assert said.startswith('True') and said.count('OneDL') <= 1


def test_other_notes_stay(capsys):
    with stack._without_notes():
        print('Could not import OneDL\nsomething else')
    assert capsys.readouterr().out == 'something else\n'
