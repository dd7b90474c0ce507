"""Tests of tools/analysis_tools/browse_dataset.py."""
import sys

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mwam_mm import stack
from mwam_mm.datasets import SceneDataset
from mwam_mm.visualization.panels import ABSENT, INVALID

from .. import tiny_cls
from ..stacks import needs_classification

CONFIG = '''
modalities = dict(
    rgb=dict(channels=3, bgr_to_rgb=True),
    depth=dict(channels=1, mean=3., scale=0.001, invalid_value=0))
default_scope = 'mmseg'
train_dataloader = dict(dataset=dict(
    type='RepeatDataset', times=1, dataset=dict(
        type='mwam_mm.SceneDataset', data_root={root!r}, split='train',
        scene_cfg=dict(height=60, width=80, splits=dict(train=2, val=1)),
        pipeline=[
            dict(type='mwam_mm.LoadModalities', modalities=modalities),
            dict(type='LoadAnnotations'),
            dict(type='RandomFlip', prob=1.),
            dict(type='RandomCrop', crop_size=(40, 80)),
            dict(type='PackSegInputs'),
            dict(type='mwam_mm.DropModality', modalities=['rgb'])])))
'''
FACES = '''
modalities = dict(
    rgb=dict(channels=3, bgr_to_rgb=True),
    depth=dict(channels=1, file_channels=[0]),
    ir=dict(channels=1, file_channels=[0]))
default_scope = 'mmpretrain'
train_dataloader = dict(dataset=dict(
    type='mwam_mm.CASIASURFDataset', data_root={root!r}, pipeline=[
        dict(type='mwam_mm.LoadModalities', modalities=modalities),
        dict(type='PackInputs')]))
'''


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = str(tmp_path_factory.mktemp('scenes') / 'scenes')
    SceneDataset(root, scene_cfg=dict(
        height=60, width=80, splits=dict(train=2, val=1)))
    return root


@pytest.fixture
def browse(load_tool, monkeypatch, write_config, root):
    config = write_config(CONFIG.format(root=root))

    def run(*argv):
        monkeypatch.setattr(sys, 'argv', ['browse.py', config, *argv])
        load_tool('analysis_tools/browse_dataset').main()

    return run


def test_before_and_after(browse, root, tmp_path):
    browse('--not-show', '--out', str(tmp_path / 'out'))
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [
        '000000_000000.png', '000001_000001.png']
    picture = cv2.imread(str(tmp_path / 'out/000001_000001.png'))[..., ::-1]
    columns = [picture[:, 4 + 244 * i + 1:244 * (i + 1):3] for i in range(3)]
    rgb, depth, truth = (c[22:22 + 180:3] for c in columns)
    file = cv2.imread(f'{root}/rgb/train/000001.png')[..., ::-1]
    np.testing.assert_array_equal(rgb, file)
    holes = cv2.imread(f'{root}/depth/train/000001.png', -1) == 0
    assert holes.any()
    np.testing.assert_array_equal((depth == INVALID).all(2), holes)
    assert (truth != rgb).any(2).mean() > 0.9
    assert (truth != 255).any(2).mean() > 0.9  # not the white beside a row

    # the second row, above which the legend of the first one lies
    top = len(picture) - 120 - 4 - 22 * ((len(picture) - 352) // 22 // 2)
    rgb, depth, truth = (c[top:top + 120:3] for c in columns)
    assert (rgb == ABSENT).all()
    found = (depth == INVALID).all(2)
    assert any((found == holes[i:i + 40, ::-1]).all() for i in range(21))


def test_a_pipeline_for_tests(load_tool, write_config, root):
    """It resizes the image, and loads the annotations after that."""
    cfg = Config.fromfile(write_config(CONFIG.format(root=root)))
    dataset = cfg.train_dataloader.dataset
    load, annotations, _, _, pack, _ = dataset.dataset.pipeline
    dataset.dataset.pipeline = [
        load, dict(type='Resize', scale=(40, 30)), annotations, pack]
    init_default_scope('mmseg')
    tool = load_tool('analysis_tools/browse_dataset')
    browser = tool.Browser(dataset)
    truth = browser.dataset[1]['data_samples'].gt_sem_seg.data[0]
    label = cv2.imread(f'{root}/label/train/000001.png', -1)
    same = truth.numpy() == label[:60, :80][::2, ::2]
    assert truth.shape == (30, 40) and same.mean() > 0.8
    path, _ = browser.draw(1)
    assert path == f'{root}/rgb/train/000001.png'


@pytest.mark.skipif(not stack.has_detection(), reason='needs mmdet')
def test_a_concatenation(load_tool, write_config, root, monkeypatch):
    """mmdet's has the metainfo of each dataset in a list."""
    cfg = Config.fromfile(write_config(CONFIG.format(root=root)))
    leaf = cfg.train_dataloader.dataset.dataset
    init_default_scope('mmseg')
    tool = load_tool('analysis_tools/browse_dataset')
    palette = [[i, 0, 0] for i in range(8)]
    browser = tool.Browser(dict(
        type='mmdet.ConcatDataset',
        datasets=[leaf, dict(leaf, metainfo=dict(palette=palette))]))
    assert isinstance(browser.dataset.metainfo, list)
    assert len(browser.dataset) == 4
    browser.draw(3)


def test_number(browse, tmp_path):
    browse('--not-show', '--out', str(tmp_path / 'out'), '--number', '1')
    assert len(list((tmp_path / 'out').iterdir())) == 1


def test_errors(exit_of_tool, write_config, root):
    path = write_config(CONFIG.format(root=root))
    code, said = exit_of_tool('analysis_tools/browse_dataset', path,
                              '--not-show')
    assert code == 2 and '--out DIR' in said
    code, said = exit_of_tool('analysis_tools/browse_dataset', path,
                              '--split', 'val')
    assert code == 2 and 'has no val_dataloader' in said


@needs_classification
def test_a_classification_set(load_tool, monkeypatch, write_config, tmp_path):
    tool = load_tool('analysis_tools/browse_dataset')
    scopes = []

    def check_scope(scope):
        """It also imports MMPretrain where torchvision is missing."""
        scopes.append(scope)
        stack.check_scope(scope)

    monkeypatch.setattr('mwam_mm.cli.check_scope', check_scope)
    root = str(tiny_cls.write_casia_surf(tmp_path / 'faces'))
    monkeypatch.setattr(sys, 'argv', [
        'browse.py', write_config(FACES.format(root=root)), '--not-show',
        '--number', '1', '--out', str(tmp_path / 'out')
    ])
    tool.main()
    assert scopes == ['mmpretrain']
    picture = cv2.imread(str(tmp_path / 'out/000000_31.png'))
    # Three modalities, and the face under a title that names its label.
    assert picture.shape[1] == 4 * (7 * 36 + 4)
    assert (picture[:22, -256:] < 128).any()
