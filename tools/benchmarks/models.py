"""The hosts that the benchmarks run."""
import copy
import os.path as osp
from glob import glob
from typing import Dict, List, Tuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

import mwam_mm.models  # noqa: F401, registers
from mwam_mm.models import MWAMNeck
from mwam_mm.registry import MODELS

CONFIGS = osp.join(
    osp.dirname(osp.dirname(osp.dirname(osp.abspath(__file__)))), 'configs')


def modalities(num_modalities: int = 2) -> dict:
    """RGB, then single-channel modalities."""
    names = ('rgb', 'depth', 'thermal')[:num_modalities]
    return {
        name: dict(
            channels=3 if name == 'rgb' else 1, mean=128., std=64.)
        for name in names
    }


def two_stream_fcn(depth: int = 50,
                   num_modalities: int = 2,
                   base_channels: int = 64) -> dict:
    """Config of one ResNet for each modality and an FCN head."""
    layout = modalities(num_modalities)
    cfg = Config.fromfile(
        osp.join(CONFIGS, '_base_/models/two_stream_resnet50.py'))
    expansion = 4 if depth >= 50 else 1
    channels = [base_channels * expansion * 2**i for i in range(4)]
    cfg.merge_from_dict({
        'model.data_preprocessor.modalities': layout,
        'model.backbone.modalities': layout,
        'model.backbone.branch.depth': depth,
        'model.backbone.branch.base_channels': base_channels,
        'model.backbone.branch.stem_channels': base_channels,
        'model.neck.modalities': layout,
        'model.neck.in_channels': channels,
        'model.neck.mwam': dict(),
    })
    cfg.model.decode_head = dict(
        type='FCNHead',
        in_channels=channels[-1],
        in_index=3,
        channels=channels[0],
        num_classes=40,
        norm_cfg=dict(type='BN'),
        align_corners=False)
    cfg.model._scope_ = 'mmseg'
    return cfg.model


def build(model: dict, device: str) -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build(model).to(device)


def random_batch(num_samples: int, size: Tuple[int, int],
                 num_modalities: int = 2) -> dict:
    """What a dataloader gives for :func:`two_stream_fcn`."""
    generator = np.random.default_rng(0)
    channels = 2 + num_modalities
    samples = []
    for i in range(num_samples):
        sample = SegDataSample(
            gt_sem_seg=PixelData(
                data=torch.from_numpy(generator.integers(0, 40, (1, *size)))))
        sample.set_metainfo(
            dict(img_path=f'{i}', ori_shape=size, img_shape=size))
        samples.append(sample)
    inputs = torch.from_numpy(
        generator.integers(0, 256, (num_samples, channels, *size), np.uint8))
    return dict(inputs=list(inputs), data_samples=samples)


def flagships() -> Dict[str, Config]:
    """The configs of the main jobs with MWAM, by name."""
    paths = sorted(glob(osp.join(CONFIGS, 'rgb*_mwam.py')))
    return {osp.basename(path): Config.fromfile(path) for path in paths}


def first_batch(cfg: Config) -> dict:
    """The first training batch of a config."""
    loader = cfg.train_dataloader.copy()
    loader.update(num_workers=0, persistent_workers=False)
    return next(iter(Runner.build_dataloader(loader, seed=0)))


def mwam_neck(model: nn.Module) -> MWAMNeck:
    """The neck that weights the branches; nothing else looks after it."""
    neck = next(m for m in model.modules() if isinstance(m, MWAMNeck))
    if hasattr(neck, 'has_hook'):
        neck.has_hook = True
    return neck


class _PlainBackbone(nn.Module):
    """Branches and fusions as one would write them without this package.

    The modules are the host's own; only the classes between them are left
    out.
    """

    def __init__(self, host: nn.Module) -> None:
        super().__init__()
        self.branches = host.backbone.branches
        self.fusions = host.neck.fusions
        self.layout = host.backbone.layout

    def forward(self, x: Tensor) -> List[Tensor]:
        features = {
            name: self.branches[name](x[:, m.slice])
            for name, m in self.layout.items()
        }
        return [
            fusion({name: f[i] for name, f in features.items()})
            for i, fusion in enumerate(self.fusions)
        ]


def plain_two_stream(host: nn.Module) -> nn.Module:
    """A segmentor of the same class and modules with such a backbone."""
    plain = copy.copy(host)
    plain._modules = dict(host._modules, backbone=_PlainBackbone(host))
    del plain._modules['neck']
    return plain
