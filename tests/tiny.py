"""A tiny RGB-D segmentation job for tests that need a real Runner."""
import copy
import itertools

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.models import EncoderDecoder
from mmseg.structures import SegDataSample
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from mwam_mm.registry import DATASETS, MODELS

MODALITIES = dict(
    rgb=dict(channels=3, mean=128., std=64.),
    depth=dict(channels=1, mean=3., std=2.))
NORM = dict(type='GN', num_groups=1)  # no batch statistics
_RUNS = itertools.count()


@DATASETS.register_module()
class TinyPairs(Dataset):
    """Random pairs, the same at every reading."""

    metainfo = dict(classes=('a', 'b'), palette=[[0, 0, 0], [255, 255, 255]])

    def __init__(self, size=8, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.rgb = torch.randint(
            0, 256, (size, 3, 32, 32), generator=generator)
        self.depth = torch.rand(size, 1, 32, 32, generator=generator) * 6
        self.label = (self.depth > 3).long()

    def __len__(self):
        return len(self.rgb)

    def __getitem__(self, i):
        sample = SegDataSample(gt_sem_seg=PixelData(data=self.label[i]))
        sample.set_metainfo(
            dict(img_path=f'{i}.png', ori_shape=(32, 32), img_shape=(32, 32)))
        return dict(
            inputs=torch.cat([self.rgb[i].float(), self.depth[i]]),
            data_samples=sample)


@MODELS.register_module()
class LooksAgain(EncoderDecoder):
    """Its decoder sees the image, as one with a path of details does."""

    def extract_feat(self, inputs):
        *levels, last = super().extract_feat(inputs)
        image = interpolate(inputs.mean(1, True), last.shape[2:])
        return [*levels, last * image]


def streams(modalities=MODALITIES, branch='mmseg.ResNet', **neck):
    """Backbone and neck of two ResNets of two stages."""
    return dict(
        backbone=dict(
            type='mwam_mm.MultiModalBackbone',
            modalities=modalities,
            branch=dict(
                type=branch,
                depth=18,
                num_stages=2,
                strides=(1, 2),
                dilations=(1, 1),
                out_indices=(0, 1),
                base_channels=4,
                stem_channels=4,
                norm_cfg=NORM)),
        neck=dict(
            type='mwam_mm.MWAMNeck',
            modalities=modalities,
            in_channels=[4, 8],
            fusion=dict(type='mwam_mm.GatedFusion'),
            **neck))


def model(mwam=None):
    """Two-stream EncoderDecoder."""
    return dict(
        type='mmseg.EncoderDecoder',
        data_preprocessor=dict(
            type='mwam_mm.MultiModalSegDataPreprocessor',
            modalities=MODALITIES,
            size_divisor=32),
        decode_head=dict(
            type='mmseg.FCNHead',
            in_channels=8,
            in_index=1,
            channels=8,
            num_convs=1,
            concat_input=False,
            num_classes=2,
            dropout_ratio=0,
            norm_cfg=NORM,
            align_corners=False),
        **streams(mwam=mwam),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'))


def config(work_dir, mwam=None, hook=None, max_iters=4, **overrides):
    """Config of a training run, on the CPU and without workers."""
    cfg = dict(
        default_scope='mmseg',
        model=model(mwam),
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type='InfiniteSampler', shuffle=True),
            dataset=dict(type='mwam_mm.TinyPairs')),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=max_iters),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(
                type='CheckpointHook', by_epoch=False, interval=2)),
        custom_hooks=[] if hook is None else [hook],
        visualizer=dict(
            type='SegLocalVisualizer',
            vis_backends=[dict(type='LocalVisBackend')]),
        log_processor=dict(by_epoch=False),
        log_level='WARNING',
        randomness=dict(seed=0),
        # MMEngine tells runs of the same name apart by the second only.
        experiment_name=f'{work_dir.name}-{next(_RUNS)}')
    cfg.update(overrides)
    return Config(copy.deepcopy(cfg))


def train(*args, **kwargs):
    """Run the training and return the Runner."""
    runner = Runner.from_cfg(config(*args, **kwargs))
    runner.train()
    return runner


def kill(cfg, iteration):
    """Run a training that dies in an iteration, counted from 0."""
    runner = Runner.from_cfg(cfg)
    step = runner.model.train_step

    def dying(*args, **kwargs):
        if runner.iter == iteration:
            raise KeyboardInterrupt
        return step(*args, **kwargs)

    runner.model.train_step = dying
    with pytest.raises(KeyboardInterrupt):
        runner.train()


def device_of(runner):
    """Where the model of a Runner is: a GPU, if there is one.

    References belong there, too; results that are compared with tensors made
    by a test may as well be brought to the CPU.
    """
    return next(runner.model.parameters()).device


def change(runner):
    """Each parameter's change by the training of a Runner."""
    runner.model.init_weights()  # which train() then does not repeat
    before = copy.deepcopy(runner.model.state_dict())
    runner.train()
    after = runner.model.state_dict()
    return {
        name: after[name].double() - before[name].double()
        for name, _ in runner.model.named_parameters()
    }
