"""A tiny RGB-D classification job for tests that need a real Runner."""
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mwam_mm.registry import DATASETS
from mwam_mm.stack import check_stack

from . import tiny

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
METRIC = 'accuracy/top1'


@DATASETS.register_module()
class TinyFaces(Dataset):
    """Random pairs of two classes, the same at every reading."""

    metainfo = dict(classes=('fake', 'real'))

    def __init__(self, size=8, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.images = torch.rand(size, 4, 16, 16, generator=generator) * 6
        self.labels = [i % 2 for i in range(size)]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        from mmpretrain.structures import DataSample
        sample = DataSample().set_gt_label(self.labels[i])
        sample.set_metainfo(dict(img_path=f'{i}.png'))
        return dict(
            inputs=self.images[i] + 3 * self.labels[i], data_samples=sample)


def model(mwam=None, **preprocessor):
    """Two streams of two stages, pooled, and a linear classifier."""
    parts = tiny.streams(branch='mmpretrain.ResNet', mwam=mwam)
    parts['backbone']['branch']['out_indices'] = (1, )
    parts['neck'].update(
        in_channels=[8],
        fusion=dict(type='mwam_mm.SumFusion'),
        neck=dict(type='mmpretrain.GlobalAveragePooling'))
    return dict(
        type='mmpretrain.ImageClassifier',
        data_preprocessor=dict(
            type='mwam_mm.MultiModalClsDataPreprocessor',
            modalities=tiny.MODALITIES,
            num_classes=2,
            **preprocessor),
        head=dict(
            type='mmpretrain.LinearClsHead', in_channels=8, num_classes=2),
        **parts)


def config(work_dir, mwam=None, hook=None, **overrides):
    """Config of a training run with an evaluation after each iteration."""
    dataset = dict(type='mwam_mm.TinyFaces')
    return tiny.config(
        work_dir,
        hook=hook,
        **{
            **dict(
                default_scope='mmpretrain',
                model=model(mwam),
                max_iters=2,
                visualizer=dict(
                    type='UniversalVisualizer',
                    vis_backends=[dict(type='LocalVisBackend')]),
                train_dataloader=dict(
                    batch_size=4,
                    num_workers=0,
                    sampler=dict(type='InfiniteSampler', shuffle=True),
                    dataset=dataset),
                train_cfg=dict(
                    type='IterBasedTrainLoop', max_iters=2, val_interval=1),
                val_dataloader=dict(
                    batch_size=4,
                    num_workers=0,
                    sampler=dict(type='DefaultSampler', shuffle=False),
                    dataset=dict(dataset, seed=1)),
                val_cfg=dict(type='mwam_mm.MissingModalityValLoop'),
                val_evaluator=[
                    dict(type='Accuracy', topk=1),
                    dict(type='mwam_mm.AntiSpoofingMetric', fpr=[0.1])
                ]),
            **overrides
        })


def write_casia_surf(root):
    """Four faces for training and four for validation, in the layout of the
    publishers."""
    rng = np.random.default_rng(0)
    for part in ('train', 'val_private'):
        lines = []
        for i in range(4):
            files = []
            for kind in ('color', 'depth', 'ir'):
                name = f'Training/{part}/{i}/real.rssdk/{kind}/31.jpg'
                path = root / name
                path.parent.mkdir(parents=True)
                image = rng.integers(0, 256, (40, 36, 3), np.uint8)
                cv2.imwrite(str(path), image)
                files.append(name)
            lines.append(' '.join([*files, str(i % 2)]))
        (root / f'{part}_list.txt').write_text('\n'.join(lines))
    return root


def train_shipped(name, data_root, work_dir):
    """Train a shipped config, made small, for an epoch of one batch of four.

    Returns:
        dict: What the report says of each combination.
    """
    check_stack('mmpretrain')
    cfg = Config.fromfile(CONFIGS / name)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False, batch_size=4)
        loader.dataset.data_root = str(data_root)
        for transform in loader.dataset.pipeline:
            for key in ('scale', 'crop_size'):
                if key in transform:
                    size = transform[key]
                    transform[key] = 32 if isinstance(size, int) else (32, 32)
    cfg.test_dataloader = cfg.val_dataloader
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.model.backbone.branch.update(base_channels=4, stem_channels=4)
    cfg.model.neck.in_channels = [32]
    cfg.model.head.update(in_channels=32, num_classes=2)
    cfg.work_dir = str(work_dir)
    cfg.log_level = 'WARNING'
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 1
    report, = work_dir.rglob('missing_modality_val.json')
    return json.loads(report.read_text())['combinations']
