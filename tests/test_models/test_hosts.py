"""Every host trains, plain and with MWAM, and K scales its branches only."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from .. import tiny
from ..reports import read_report
from ..test_engine.ways import mwam_hook

HOSTS = Path(__file__).resolve().parents[2] / 'configs/hosts'
# Those of detection have a test of their own.
NAMES = sorted(
    path.name[:-len('_mwam_scenes.py')]
    for path in HOSTS.glob('*_mwam_scenes.py')
    if Config.fromfile(path).default_scope == 'mmseg')
SCENES = dict(height=64, width=96, splits=dict(train=4, val=2))


def shrink(name, scenes, work_dir, val=False):
    """A host's config for one step of plain SGD on four small scenes."""
    cfg = Config.fromfile(HOSTS / name)
    cfg.work_dir = str(work_dir)
    cfg.train_dataloader.batch_size = 4
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.update(data_root=str(scenes), scene_cfg=SCENES)
    cfg.train_cfg.update(max_iters=1, val_interval=1)
    cfg.optim_wrapper = dict(optimizer=dict(type='SGD', lr=1.))
    cfg.param_scheduler = []
    cfg.default_hooks = dict(logger=dict(type='LoggerHook', interval=1))
    cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
    if not val:
        cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.log_level = 'WARNING'
    cfg.experiment_name = work_dir.name
    return cfg


def step(cfg):
    """Each parameter's change by the step, and the Runner."""
    runner = Runner.from_cfg(cfg)
    return tiny.change(runner), runner


def test_the_hosts_are_those_promised():
    models = [
        Config.fromfile(HOSTS / f'{name}_scenes.py').model for name in NAMES
    ]
    assert {m.backbone.type for m in models} == {
        'mwam_mm.MultiModalBackbone', 'mwam_mm.ESANetBackbone'}
    assert {m.backbone.branch.type for m in models} == {
        'ResNet', 'ResNetV1c', 'MixVisionTransformer', 'SwinTransformer',
        'VisionTransformer'}
    assert {m.decode_head.type for m in models} == {
        'FCNHead', 'DepthwiseSeparableASPPHead', 'UPerHead', 'SegformerHead'}
    assert 'MobileNetV2' in {
        cfg.type for m in models
        for cfg in m.backbone.get('branches', {}).values()}


@pytest.mark.parametrize('name', NAMES)
def test_host_trains_and_k_scales_the_branches_only(name, scenes, tmp_path):
    plain, _ = step(
        shrink(f'{name}_scenes.py', scenes, tmp_path / 'plain'))
    weighted, runner = step(
        shrink(f'{name}_mwam_scenes.py', scenes, tmp_path / 'mwam', val=True))
    hook = mwam_hook(runner)
    k = dict(zip(hook.mwam.modalities, hook.mwam.weights.tolist()))
    assert abs(k['rgb'] - k['depth']) > 0.1
    scaled = dict(rgb=0, depth=0)
    others = 0
    for parameter, delta in plain.items():
        path = parameter.split('.')
        if path[:2] == ['backbone', 'branches']:
            torch.testing.assert_close(
                weighted[parameter], k[path[2]] * delta, rtol=1e-3, atol=1e-6,
                msg=lambda m: f'{parameter}: {m}')
            scaled[path[2]] += bool((delta.abs() > 1e-4).any())
        else:
            # Interpolation adds gradients up in any order on a GPU.
            torch.testing.assert_close(
                weighted[parameter], delta,
                **(dict(rtol=1e-3, atol=1e-6) if delta.is_cuda else
                   dict(rtol=0, atol=0)),
                msg=lambda m: f'{parameter}: {m}')
            others += bool((delta != 0).any())
    assert min(scaled.values()) > 10 and others > 5
    report = read_report(tmp_path / 'mwam', 'val')
    assert list(report['combinations']) == ['rgb+depth', 'rgb', 'depth']
    assert all(c['samples'] == 2 for c in report['combinations'].values())
