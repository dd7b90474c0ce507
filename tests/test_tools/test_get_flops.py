"""Tests of tools/analysis_tools/get_flops.py."""
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mwam_mm.apis import init_model
from mwam_mm.registry import MODELS
from mwam_mm.stack import has_detection

from .. import tiny

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
HOSTS = sorted(
    path.name for path in (CONFIGS / 'hosts').glob('*.py')
    if '_mwam' not in path.name)
JOBS = [
    *(f'hosts/{name}' for name in HOSTS), 'rgbd_seg_mwam.py',
    'rgbd_det_mwam.py'
]
COMBINATIONS = ['rgb+depth', 'rgb', 'depth']


@MODELS.register_module()
class OneConvolution(torch.nn.Module):
    """A backbone whose FLOPs are those of one convolution."""

    def __init__(self, in_channels=3):
        super().__init__()
        self.conv = torch.nn.Conv2d(in_channels, 8, 3, padding=1, stride=2)

    def forward(self, x):
        return [self.conv(x)]


@pytest.fixture
def get_flops(load_tool):
    return load_tool('analysis_tools/get_flops')


def one_convolution():
    cfg = tiny.model()
    cfg['backbone']['branch'] = dict(type='mwam_mm.OneConvolution')
    cfg['neck'].update(
        in_channels=[8], fusion=dict(type='mwam_mm.SumFusion'))
    cfg['decode_head'].update(
        in_index=0, num_convs=0, kernel_size=1, concat_input=False)
    return dict(default_scope='mmseg', model=cfg)


def test_counts_by_hand(get_flops):
    branches, combinations = get_flops.measure(
        init_model(Config(one_convolution()), device='cpu'), 32, 64)
    places = 16 * 32
    for name, channels in dict(rgb=3, depth=1).items():
        assert branches[name] == (8 * (9 * channels + 1),
                                  places * 8 * 9 * channels)
    assert list(combinations) == COMBINATIONS
    head = (8 * 2 + 2, places * 8 * 2 + 4 * 2 * 32 * 64)  # and upsampling
    for name, cost in combinations.items():
        for i in range(2):
            assert cost[i] == head[i] + sum(
                branches[n][i] for n in name.split('+'))


@pytest.mark.parametrize('job', JOBS)
def test_shipped_configs(job, get_flops):
    cfg = Config.fromfile(CONFIGS / job)
    if cfg.default_scope == 'mmdet' and not has_detection():
        pytest.skip('needs mmdet and the compiled ops of mmcv')
    model = init_model(cfg, device='cpu')
    branches, combinations = get_flops.measure(model, 64, 64)
    assert list(branches) == ['rgb', 'depth']
    assert list(combinations) == COMBINATIONS
    both = combinations.pop('rgb+depth')
    assert both.parameters == sum(p.numel() for p in model.parameters())
    for name, alone in combinations.items():
        assert 0 < branches[name].parameters <= alone.parameters
        assert 0 < branches[name].flops < alone.flops < both.flops
        assert alone.parameters < both.parameters


def test_command(get_flops, write_config, monkeypatch, capsys):
    path = write_config('')
    Config(one_convolution()).dump(path)
    monkeypatch.setattr(sys, 'argv', ['get_flops.py', path, '--shape', '32',
                                      '64'])
    get_flops.main()
    said = capsys.readouterr().out
    assert [line.split('|')[1].strip() for line in said.splitlines()
            if line.startswith('|') and '.' in line] == [
                'rgb', 'depth', *COMBINATIONS]
    assert 'Image of 32 x 64 pixels' in said


def test_a_model_that_does_not_know_the_modalities(get_flops):
    cfg = one_convolution()
    cfg['model']['data_preprocessor'] = dict(type='mmseg.SegDataPreProcessor')
    model = init_model(Config(cfg), device='cpu')
    with pytest.raises(TypeError, match='such as mwam_mm.MultiModalSeg'):
        get_flops.measure(model, 32, 32)
