"""A tiny trained model in a file, and images for it."""
import copy

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint

from mwam_mm.registry import MODELS

from .. import tiny

MODALITIES = dict(
    rgb=dict(channels=3, mean=128., std=64., bgr_to_rgb=True),
    depth=dict(channels=1, mean=3., std=2., scale=0.001, invalid_value=0))
META = dict(classes=('wall', 'hole'), palette=[[250, 0, 0], [0, 0, 250]])


def write_job(folder, cfg, meta=META):
    """Write config and checkpoint; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    Config(copy.deepcopy(cfg)).dump(str(folder / 'job.py'))
    init_default_scope(cfg['default_scope'])
    torch.manual_seed(3)
    model = MODELS.build(copy.deepcopy(cfg['model']))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    if hasattr(model, 'decode_head'):
        predict_all_classes(model)
    save_checkpoint(
        dict(state_dict=model.state_dict(), meta=dict(dataset_meta=meta)),
        str(folder / 'job.pth'))
    return str(folder / 'job.py'), str(folder / 'job.pth')


@torch.no_grad()
def predict_all_classes(model):
    """Shift the logits, so that no class is predicted everywhere."""
    full = torch.rand(1, 4, 64, 64) * 3.5 - 1.75
    images = full.repeat(3, 1, 1, 1)
    images[1, 3:] = images[2, :3] = 0
    bias = model.decode_head.conv_seg.bias
    bias -= torch.stack([
        model.eval().encode_decode(image[None], [
            dict(img_shape=(64, 64), ori_shape=(64, 64))
        ]).mean((0, 2, 3)) for image in images
    ]).mean(0)


def with_modalities(model, modalities):
    for part in ('data_preprocessor', 'backbone', 'neck'):
        model[part]['modalities'] = modalities
    return model


def seg_config(modalities=MODALITIES, resize=(64, 48)):
    pipeline = [
        dict(type='mwam_mm.LoadModalities', modalities=modalities),
        dict(type='Resize', scale=resize, keep_ratio=False),
        dict(type='LoadAnnotations'),
        dict(type='PackSegInputs')
    ]
    model = with_modalities(tiny.model(), modalities)
    model['data_preprocessor']['test_cfg'] = dict(size_divisor=32)
    return dict(
        default_scope='mmseg',
        model=model,
        test_dataloader=dict(
            batch_size=1,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(
                type='mwam_mm.MultiModalSegDataset', pipeline=pipeline)))


def write_pair(rgb, depth, seed=0, size=(40, 56)):
    """Write a colour image and a 16-bit depth map with a hole."""
    rng = np.random.default_rng(seed)
    colors = rng.integers(0, 256, (*size, 3), np.uint8)
    depths = rng.integers(1000, 6000, size, np.uint16)
    depths[:10, :20] = 0
    for path, image in ((rgb, colors), (depth, depths)):
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), image)
    return colors, depths


@pytest.fixture(autouse=True)
def _on_cpu(monkeypatch):
    """By-hand references are computed on the CPU."""
    monkeypatch.setattr('mwam_mm.apis.model.get_device', lambda: 'cpu')


@pytest.fixture
def seg_job(tmp_path):
    """Paths of a config and a checkpoint for segmentation."""
    return write_job(tmp_path / 'job', seg_config())


@pytest.fixture
def pair(tmp_path):
    """A pair of files, by modality."""
    write_pair(tmp_path / 'a.png', tmp_path / 'b.png')
    return dict(rgb=str(tmp_path / 'a.png'), depth=str(tmp_path / 'b.png'))
