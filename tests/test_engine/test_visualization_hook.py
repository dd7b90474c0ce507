"""Predictions are drawn on what the pipeline loaded."""
import shutil

import cv2
import numpy as np
import pytest
from mmcv.transforms import Compose
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.structures import BaseDataElement

from mwam_mm.engine import MultiModalVisualizationHook
from mwam_mm.engine.hooks.visualization_hook import loaded_picture
from mwam_mm.layout import ModalityLayout

from .test_missing_modality_loops import (  # noqa: F401
    build,
    config,
    data,
)

MODALITIES = dict(
    rgb=dict(channels=3, mean=120, std=60, bgr_to_rgb=True),
    depth=dict(channels=1, mean=3, std=1.5, scale=0.001, invalid_value=0))


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (7, 8, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (80, 70), interpolation=cv2.INTER_CUBIC)
    np.save(tmp_path / 'rgb.npy', image)
    depth = rng.integers(500, 6000, (70, 80)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / 'depth.png'), depth)
    return image, dict(
        img_path=str(tmp_path / 'rgb.npy'),
        depth_path=str(tmp_path / 'depth.png'))


def packed(files, *transforms):
    """The batch of one sample that is loaded without a frame."""
    init_default_scope('mmseg')
    keys = ('img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip',
            'flip_direction')
    return pseudo_collate([
        Compose([
            dict(
                type='mwam_mm.LoadModalities',
                modalities=MODALITIES,
                border=10), *transforms,
            dict(type='PackSegInputs', meta_keys=keys)
        ])(dict(files, seg_fields=[]))
    ])


@pytest.mark.parametrize('transforms, tolerance', [
    ((), 0),
    # Twice the size, mirrored and padded
    ((dict(type='Resize', scale=(120, 100)),
      dict(type='RandomFlip', prob=1.),
      dict(
          type='mwam_mm.FillWithMean',
          modalities=MODALITIES,
          transform=dict(type='Pad', size_divisor=64))), 3),
])
def test_on_what_is_loaded(files, transforms, tolerance):
    image, paths = files
    batch = packed(paths, *transforms)
    output = BaseDataElement(metainfo=batch['data_samples'][0].metainfo)
    picture = loaded_picture(ModalityLayout(MODALITIES), batch, 0, output)
    assert picture.shape == (50, 60, 3) and picture.dtype == np.uint8
    off = np.abs(picture[..., ::-1].astype(int) - image[10:-10, 10:-10])
    assert off.mean() <= tolerance


def test_of_a_modality_that_is_there(files):
    batch = packed(files[1])
    outputs = [
        BaseDataElement(
            metainfo=dict(
                batch['data_samples'][0].metainfo, absent_modalities=absent))
        for absent in ((), ('rgb', ))
    ]
    with_rgb, without = (
        loaded_picture(ModalityLayout(MODALITIES), batch, 0, output)
        for output in outputs)
    assert (with_rgb != without).any()
    views = dict(
        inputs=[batch['inputs'], [batch['inputs'][0] * 0]],
        data_samples=[batch['data_samples']] * 2)
    np.testing.assert_array_equal(
        loaded_picture(ModalityLayout(MODALITIES), views, 0, outputs[0]),
        with_rgb)


def drawing(cfg):
    """Images that OpenCV cannot read, in folders with equal names."""
    dataset = cfg.test_dataloader.dataset
    dataset.img_suffix = '.npy'
    dataset.modality_suffix = dict(depth_path='.png')
    dataset.seg_map_suffix = '.png'
    cfg.default_hooks = dict(
        visualization=dict(
            type='SegVisualizationHook', draw=True, interval=1))
    return cfg


@pytest.mark.parametrize('stage', ['val', 'test'])
def test_stock_hook_in_a_loop_over_combinations(data, stage):  # noqa: F811
    for folder, suffix in (('img', 'npy'), ('depth', 'png'),
                           ('label', 'png')):
        for i in (0, 1):
            path = data / folder / f'{i}.png'
            moved = data / folder / f'set{i}' / f'I0.{suffix}'
            moved.parent.mkdir()
            if suffix == 'npy':
                np.save(moved, cv2.imread(str(path)))
            else:
                shutil.copy(path, moved)
    runner = build(drawing(config(data)))
    if stage == 'val':
        for key in ('dataloader', 'evaluator'):
            setattr(runner, f'_val_{key}', getattr(runner, f'_test_{key}'))
        runner._val_loop = dict(type='mwam_mm.MissingModalityValLoop')
    getattr(runner, stage)()
    hook, = (h for h in runner.hooks
             if isinstance(h, MultiModalVisualizationHook))
    assert hook.interval == 1
    written = sorted(
        str(p.relative_to(data.parent / 'work'))
        for p in (data.parent / 'work').rglob('*.png') if 'set' in str(p))
    folder = f'{runner.timestamp}/vis_data/vis_image'
    expected = [f'{folder}/set0/{stage}_I0.npy.png_{stage == "test":d}.png']
    if stage == 'test':  # a validation draws the first sample of a batch
        expected.append(f'{folder}/set1/test_I0.npy.png_2.png')
    assert written == expected


def test_folder_of_a_test(data, tmp_path):  # noqa: F811
    """Drawn by the stock loop, too."""
    cfg = config(data, 'TestLoop')
    cfg.default_hooks = dict(
        visualization=dict(
            type='mwam_mm.MultiModalVisualizationHook',
            test_out_dir='drawn'))
    runner = build(cfg)
    runner.test()
    folder = data.parent / 'work' / runner.timestamp / 'drawn'
    assert len(list(folder.iterdir())) == 5
    drawn = cv2.imread(str(folder / '0.png'))
    assert drawn.shape[0] >= 32


def test_jobs_without_modalities_keep_their_hook(data):  # noqa: F811
    from mwam_mm.engine.hooks import draw_what_is_loaded
    cfg = config(data, 'TestLoop')
    cfg.default_hooks = dict(visualization=dict(type='SegVisualizationHook'))
    cfg.model.data_preprocessor = dict(type='SegDataPreProcessor')
    runner = build(cfg)
    draw_what_is_loaded(runner)
    assert any(type(hook).__name__ == 'SegVisualizationHook'
               for hook in runner.hooks)
