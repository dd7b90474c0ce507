"""A project of its own, with nothing of ours in it, becomes multimodal.

It has a stock config and a dataset class, and uses the package as it is
installed by pip. Its multimodal config is the recipe of docs/inherit.md.
"""
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import cv2
import mmseg
import numpy as np
import pytest

REPO = Path(__file__).resolve().parents[1]
DATASET = '''
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class MyRGBDDataset(BaseSegDataset):
    METAINFO = dict(classes=('floor', 'thing'), palette=[[0] * 3, [9] * 3])

    def __init__(self, split, **kwargs):
        prefix = dict(img_path=f'{split}/rgb', seg_map_path=f'{split}/label')
        super().__init__(data_prefix=prefix, img_suffix='.png', **kwargs)

    def load_data_list(self):
        data_list = super().load_data_list()
        for info in data_list:
            info['depth_path'] = info['img_path'].replace('rgb', 'depth')
        return data_list
'''
BASE = '''
custom_imports = dict(imports='my_dataset')
default_scope = 'mmseg'
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[123.7, 116.3, 103.5],
        std=[58.4, 57.1, 57.4], bgr_to_rgb=True, size=(32, 32),
        seg_pad_val=255),
    pretrained='open-mmlab://resnet18_v1c',
    backbone=dict(type='ResNetV1c', depth=18, base_channels=8,
                  stem_channels=8, norm_cfg=norm_cfg),
    decode_head=dict(
        type='FCNHead', in_channels=64, channels=8, num_convs=1,
        num_classes=150, norm_cfg=norm_cfg, align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss')),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
train_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=(32, 32)),
    dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')]
train_dataloader = dict(
    batch_size=2, sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='ADE20KDataset', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ADE20KDataset', pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='IoUMetric')
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2)
val_cfg = test_cfg = dict()
log_processor = dict(by_epoch=False)
default_hooks = dict(logger=dict(type='LoggerHook', interval=1),
                     checkpoint=dict(type='CheckpointHook', by_epoch=False))
'''


def recipe(document='docs/inherit.md'):
    text = (REPO / document).read_text(encoding='utf-8')
    return text.split('```python\n')[1].split('```')[0]


@pytest.fixture
def project(tmp_path):
    """The project's folder."""
    (tmp_path / 'my_dataset.py').write_text(DATASET)
    (tmp_path / 'fcn_r50.py').write_text(BASE)
    (tmp_path / 'my_job.py').write_text(recipe())
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for kind in ('rgb', 'depth', 'label'):
            folder = tmp_path / 'data/mine' / split / kind
            folder.mkdir(parents=True)
            for i in range(2):
                image = {
                    'rgb': rng.integers(0, 256, (40, 48, 3), np.uint8),
                    'depth': rng.integers(0, 9000, (40, 48), np.uint16),
                    'label': rng.integers(0, 2, (40, 48), np.uint8)
                }[kind]
                cv2.imwrite(str(folder / f'{i}.png'), image)
    return tmp_path


def test_the_recipe_is_short():
    lines = [line for line in recipe().splitlines() if line.strip()]
    assert len(lines) <= 15
    assert max(map(len, lines)) <= 79
    assert recipe('README.md') == recipe()


def test_installed_package_is_enough(project):
    try:
        importlib.metadata.distribution('mwam_mm')
    except importlib.metadata.PackageNotFoundError:
        pytest.skip('mwam_mm is not installed by pip here')
    tool = Path(mmseg.__file__).parent / '.mim/tools/train.py'
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(project))
    result = subprocess.run(
        [sys.executable, str(tool), 'my_job.py'],
        cwd=project,
        capture_output=True,
        text=True,
        env=env)
    out = result.stdout + result.stderr
    assert result.returncode == 0, out[-3000:]
    assert 'open-mmlab://resnet18_v1c left out' in out
    assert 'mwam/K_rgb' in out and 'mwam/K_depth' in out
    assert 'mIoU' in out
    assert (project / 'work_dirs/my_job/iter_2.pth').exists()
