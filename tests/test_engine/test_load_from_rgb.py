"""Training that is to start from a model without modalities."""
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mwam_mm.convert.branches import merge_branches, save_merged
from mwam_mm.registry import MODELS
from tests import tiny

FPN = dict(
    type='mmseg.FPN', in_channels=[4, 8], out_channels=8, num_outs=2)


def config(work_dir, **kwargs):
    """A run whose training changes nothing."""
    cfg = tiny.config(work_dir, max_iters=1, **kwargs)
    cfg.model.neck.neck = FPN
    cfg.optim_wrapper.optimizer.lr = 0.
    return cfg


@pytest.fixture
def rgb(tmp_path):
    """The weights of an RGB model of the same architecture, and their file."""
    init_default_scope('mmseg')
    cfg = tiny.model()
    cfg.update(
        data_preprocessor=dict(
            type='mmseg.SegDataPreProcessor', size=(32, 32)),
        backbone=dict(cfg['backbone']['branch']),
        neck=dict(FPN))
    model = MODELS.build(cfg)
    for p in model.parameters():
        torch.nn.init.normal_(p)
    path = str(tmp_path / 'rgb.pth')
    torch.save(dict(state_dict=model.state_dict()), path)
    return model.state_dict(), path


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_it_is_refused_with_the_ways(tmp_path, rgb, prefix):
    weights, path = rgb
    torch.save({prefix + key: value for key, value in weights.items()}, path)
    runner = Runner.from_cfg(config(tmp_path, load_from=path))
    with pytest.raises(ValueError) as error:
        runner.train()
    assert 'no branches (backbone.branches.rgb...)' in str(error.value)
    assert ('merge_branches.py CONFIG rgb=FILE depth=FILE --heads rgb'
            in str(error.value))
    assert "prefix='backbone.'" in str(error.value)


def test_the_way_for_the_whole_model(tmp_path, rgb):
    weights, path = rgb
    cfg = config(tmp_path)
    files = dict(rgb=path, depth=path)
    out = str(tmp_path / 'merged.pth')
    save_merged(
        merge_branches(MODELS.build(cfg.model), files, 'rgb'), files, out)
    cfg.load_from = out
    runner = Runner.from_cfg(cfg)
    runner.train()
    state = {k: v.cpu() for k, v in runner.model.state_dict().items()}
    for name in files:
        key = f'backbone.branches.{name}.layer1.0.conv1.weight'
        assert torch.equal(state[key],
                           weights['backbone.layer1.0.conv1.weight'])
    for key, value in weights.items():
        if not key.startswith('backbone.'):
            key = f'neck.{key}' if key.startswith('neck.') else key
            assert torch.equal(state[key], value), key


def test_the_way_for_one_branch(rgb):
    weights, path = rgb
    cfg = tiny.streams()['backbone']
    cfg['branches'] = dict(
        rgb=dict(
            init_cfg=dict(
                type='Pretrained', checkpoint=path, prefix='backbone.')))
    backbone = MODELS.build(ConfigDict(cfg))
    backbone.init_weights()
    for key, value in backbone.branches.rgb.state_dict().items():
        assert torch.equal(value, weights[f'backbone.{key}'])
    assert not torch.equal(backbone.branches.depth.layer1[0].conv1.weight,
                           weights['backbone.layer1.0.conv1.weight'])
