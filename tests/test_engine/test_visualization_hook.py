"""Predictions are drawn on what the pipeline loaded."""
import os.path as osp
import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.structures import BaseDataElement
from mmengine.visualization import Visualizer

from mwam_mm.engine import MultiModalVisualizationHook
from mwam_mm.engine.hooks.visualization_hook import loaded_picture
from mwam_mm.layout import ModalityLayout
from mwam_mm.visualization import modality_picture

from .test_missing_modality_loops import (  # noqa: F401
    build,
    config,
    data,
)

MODALITIES = dict(
    rgb=dict(channels=3, mean=120, std=60, bgr_to_rgb=True),
    depth=dict(channels=1, mean=3, std=1.5, scale=0.001, invalid_value=0))

PAD = dict(
    type='mwam_mm.FillWithMean',
    modalities=MODALITIES,
    transform=dict(type='Pad', size_divisor=64))


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
      PAD), 3),
    # Stretched, turned over and padded
    ((dict(type='Resize', scale=(120, 75)),
      dict(type='RandomFlip', prob=1., direction='vertical'), PAD), 4),
    ((dict(type='Resize', scale=(60, 100)),
      dict(type='RandomFlip', prob=1., direction='diagonal'), PAD), 4),
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


@pytest.mark.parametrize('low, high', [(0, 1), (-99, 99), (0, 60000)])
def test_three_channels_that_are_no_colours(low, high):
    """Normals and other measurements are no levels of grey from 0 to 255."""
    image = torch.linspace(low, high, 36).view(3, 3, 4)
    batch = dict(inputs=[image], data_samples=[BaseDataElement()])
    picture = loaded_picture(
        ModalityLayout(dict(rgb=dict(channels=3))), batch, 0,
        BaseDataElement())
    np.testing.assert_array_equal(
        picture, modality_picture(image.permute(1, 2, 0).numpy()[..., ::-1]))
    assert picture.std() > 10


class Canvas:
    """In place of a visualizer: notes what is to be drawn."""

    def __init__(self):
        self._vis_backends, self.drawn = dict(a=None), []

    def add_datasample(self, name, image, data_sample, show, wait_time,
                       out_file, step, pred_score_thr=0.3):
        self.drawn.append(dict(
            name=name, value=int(image[0, 0, 0]), sample=data_sample,
            show=show, wait_time=wait_time, out_file=out_file, step=step,
            score_thr=pred_score_thr))


def hook_and_runner(monkeypatch, **kwargs):
    """Of a test of two images and a validation of others."""
    canvas = Canvas()
    monkeypatch.setattr(Visualizer, 'get_current_instance', lambda: canvas)
    hook = MultiModalVisualizationHook(**kwargs)

    def loader(folder):
        return SimpleNamespace(dataset=SimpleNamespace(
            data_prefix=dict(img_path=folder)))

    runner = SimpleNamespace(
        iter=8, work_dir='work', timestamp='now',
        model=SimpleNamespace(data_preprocessor=SimpleNamespace(
            layout=ModalityLayout(dict(rgb=dict(channels=3))))),
        val_dataloader=loader('data/val'), test_dataloader=loader('data/test'))
    return hook, runner, canvas


def loaded_batch(*paths):
    samples = [BaseDataElement(metainfo=dict(img_path=p)) for p in paths]
    return dict(
        inputs=[torch.full((3, 2, 2), 10 * i, dtype=torch.uint8)
                for i in range(len(paths))], data_samples=samples)


def test_each_image_of_a_test_and_its_options(monkeypatch):
    hook, runner, canvas = hook_and_runner(
        monkeypatch, score_thr=0.7, show=True, wait_time=2.,
        test_out_dir='out')
    assert canvas._vis_backends == {}  # it is shown instead
    batch = loaded_batch('data/test/b/1.png', 'data/test/2.tiff')
    hook.before_test(runner)
    for i in range(2):
        hook.after_test_iter(runner, i, batch, batch['data_samples'])
    assert [d['value'] for d in canvas.drawn] == [0, 10, 0, 10]
    assert [d['step'] for d in canvas.drawn] == [1, 2, 3, 4]
    first, second = canvas.drawn[:2]
    assert first['sample'] is batch['data_samples'][0]
    assert first['name'] == osp.join('b', 'test_1.png')
    assert second['name'] == 'test_2.tiff'
    assert first['out_file'] == osp.join('work', 'now', 'out', 'b', '1.png')
    for drawn in canvas.drawn:
        assert (drawn['show'], drawn['wait_time'], drawn['score_thr']) == (
            True, 2, 0.7)
    # Two files of one picture.
    batch = loaded_batch('data/test/3.npy', 'data/test/3.npy.png')
    with pytest.raises(ValueError, match='differ in the suffix only'):
        hook.after_test_iter(runner, 2, batch, batch['data_samples'])


def test_validations_between_are_not_drawn(monkeypatch):
    """After iteration 8, every third batch counted from the first one."""
    hook, runner, canvas = hook_and_runner(monkeypatch, interval=3)
    assert canvas._vis_backends
    batch = loaded_batch('data/val/1.png', 'data/val/2.png')
    hook.before_val(runner)
    for i in range(5):
        hook.after_val_iter(runner, i, batch, batch['data_samples'])
    assert [(d['step'], d['name'], d['out_file']) for d in canvas.drawn] == [
        (9, 'val_1.png', None), (12, 'val_1.png', None)]


def test_nothing_is_drawn(monkeypatch):
    hook, runner, canvas = hook_and_runner(
        monkeypatch, draw=False, show=True, interval=1)
    assert canvas._vis_backends
    batch = loaded_batch('data/val/1.png')
    hook.before_val(runner), hook.before_test(runner)
    hook.after_val_iter(runner, 0, batch, batch['data_samples'])
    hook.after_test_iter(runner, 0, batch, batch['data_samples'])
    assert not canvas.drawn


def drawing(cfg):
    """Images that OpenCV cannot read, in folders with equal names."""
    dataset = cfg.test_dataloader.dataset
    dataset.img_suffix = '.npy'
    dataset.modality_suffix = dict(depth_path='.png')
    dataset.seg_map_suffix = '.png'
    cfg.default_hooks = dict(
        visualization=dict(
            type='SegVisualizationHook', draw=True, interval=1,
            priority='LOW'))
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
    assert hook.interval == 1 and hook.priority == 'LOW'
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
